//! Objects that are made or understood as their bytes pass: two pieces of them are in memory, never the whole.
//!
//! What writes or parses them waits for bytes, so it runs on a thread that may wait, a piece ahead of the store or behind.
//! Where the store fails or nobody waits for the outcome any more, that thread meets the end of its bytes and ends.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinHandle, spawn_blocking};

use super::transfer::give_up;
use super::{OpenUploads, Part, Store, StoreError, Upload};

/// Bytes of a piece: what S3 wants a part to have at least. 10,000 parts of it are 48 GiB.
pub const PIECE: usize = 5 << 20;

/// Pieces in memory at a time: one is made while the one before is written.
const TOGETHER: usize = 2;

/// Takes the bytes of an object.
#[derive(Debug)]
pub struct PieceWriter {
    pieces: Sender<Bytes>,
    /// Empty pieces, one for each that may be begun.
    room: Receiver<Vec<u8>>,
    size: usize,
    piece: Vec<u8>,
}

impl PieceWriter {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.pieces.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until there is room for one more.
    fn begin(&mut self) -> io::Result<()> {
        self.piece = self.room.blocking_recv().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.begin()?;
        }
        let taken = bytes.len().min(self.size - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == self.size {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an object as `write` makes its bytes, and answers what that answers: in one request where it has at most `size`
/// bytes, in parts of that size otherwise. Nothing is written where `write` fails. A multipart write that fails is aborted;
/// one that is dropped half-way stays in `open`.
///
/// # Errors
/// Those of `write` and of the store.
pub async fn put_pieces<T, E>(
    store: &dyn Store,
    key: &str,
    size: usize,
    open: &OpenUploads,
    write: impl FnOnce(&mut PieceWriter) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let size = size.max(1);
    let (sender, mut pieces) = mpsc::channel(TOGETHER);
    let (free, room) = mpsc::channel(TOGETHER);
    for _ in 0..TOGETHER {
        // Fits, and the other end is here.
        let _ = free.try_send(Vec::with_capacity(size));
    }
    let thread: JoinHandle<Result<T, E>> = spawn_blocking(move || {
        let mut writer = PieceWriter { pieces: sender, room, size, piece: Vec::new() };
        let made = write(&mut writer)?;
        if !writer.piece.is_empty() {
            writer.piece.shrink_to_fit();
            // Nobody waits any more: then nobody asks for the outcome.
            let _ = writer.send();
        }
        Ok(made)
    });
    let first = pieces.recv().await.unwrap_or_default();
    let Some(second) = pieces.recv().await else {
        let made = joined(store, key, thread).await??;
        store.put(key, first).await?;
        return Ok(made);
    };
    let upload = Upload { key: key.to_owned(), id: store.begin_upload(key).await? };
    open.enter(&upload);
    let finished: Result<T, E> = async {
        let parts = parts(store, &upload, [first, second], (pieces, free)).await?;
        let made = joined(store, key, thread).await??;
        store.finish_upload(&upload, parts).await?;
        Ok(made)
    }
    .await;
    if finished.is_err() {
        give_up(store, &upload).await;
    }
    open.leave(&upload);
    finished
}

async fn parts(
    store: &dyn Store,
    upload: &Upload,
    first: [Bytes; 2],
    (mut rest, free): (Receiver<Bytes>, Sender<Vec<u8>>),
) -> Result<Vec<Part>, StoreError> {
    let mut parts = Vec::new();
    let mut offset = 0;
    let mut first = first.into_iter();
    for number in 1.. {
        let next = match first.next() {
            Some(piece) => Some(piece),
            None => rest.recv().await,
        };
        let Some(piece) = next else { break };
        parts.push(store.upload_part(upload, number, offset, piece.clone()).await?);
        offset += piece.len() as u64;
        // Filled again, because what is given back to the allocator is not always given back by it.
        let mut room = match piece.is_unique() {
            true => Vec::from(piece),
            false => Vec::with_capacity(piece.len()),
        };
        room.clear();
        // Where no more are made, nobody hears it.
        let _ = free.try_send(room);
    }
    Ok(parts)
}

/// Gives the bytes of an object.
#[derive(Debug)]
pub struct PieceReader {
    pieces: Receiver<Bytes>,
    piece: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = bytes.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut bytes[..length]);
        Ok(length)
    }
}

/// Reads an object of at most `most` bytes, of which the `first` are there, in pieces of as many, and answers what `read`
/// makes of it.
///
/// # Errors
/// The store's; [`StoreError::TooLarge`].
pub async fn read_pieces<T: Send + 'static>(
    store: &dyn Store,
    key: &str,
    first: Bytes,
    most: u64,
    read: impl FnOnce(&mut PieceReader) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let size = first.len();
    let (sender, pieces) = mpsc::channel(1);
    let thread = spawn_blocking(move || read(&mut PieceReader { pieces, piece: first }));
    let mut offset = size as u64;
    // There is room for a piece when the one before is being read. Who has read enough reads no more.
    while let Ok(room) = sender.reserve().await {
        let piece = store.get_range(key, offset, size as u64).await?;
        let length = piece.len();
        offset += length as u64;
        StoreError::unless_within(most, offset, key, store.place())?;
        if length > 0 {
            room.send(piece);
        }
        if length < size {
            break;
        }
    }
    drop(sender);
    joined(store, key, thread).await
}

async fn joined<T>(store: &dyn Store, key: &str, thread: JoinHandle<T>) -> Result<T, StoreError> {
    thread.await.map_err(|error| StoreError::Rejected {
        place: store.place().to_string(),
        act: format!("hand on the bytes of {key}"),
        cause: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::fault::{Fault, FaultStore, Verb};
    use crate::storage::memory::{MemoryService, MemoryStore};

    fn store() -> MemoryStore {
        MemoryService::new("s").bucket("b")
    }

    fn body(size: usize) -> Vec<u8> {
        (0..size).map(|at| at as u8).collect()
    }

    async fn put(store: &dyn Store, open: &OpenUploads, size: usize) -> Result<usize, StoreError> {
        let write = move |writer: &mut PieceWriter| {
            for chunk in body(size).chunks(7) {
                writer.write_all(chunk).map_err(|error| StoreError::Setup(error.to_string()))?;
            }
            Ok(size)
        };
        put_pieces(store, "k", 10, open, write).await
    }

    #[tokio::test]
    async fn what_fits_into_a_piece_is_one_request_and_the_rest_is_in_parts_of_one_size() {
        for (size, puts, parts) in [(0, 1, 0), (9, 1, 0), (10, 1, 0), (11, 0, 2), (20, 0, 2), (95, 0, 10)] {
            let store = FaultStore::watching(Arc::new(store()));
            let open = OpenUploads::default();
            assert_eq!(put(&store, &open, size).await.unwrap(), size);
            assert_eq!((store.count(Verb::Put), store.count(Verb::UploadPart)), (puts, parts), "{size} bytes");
            assert_eq!(store.get("k").await.unwrap(), body(size));
            assert_eq!(open.count(), 0);
        }
    }

    #[tokio::test]
    async fn a_failure_of_the_store_or_of_what_writes_leaves_nothing_behind() {
        for verb in [Verb::UploadPart, Verb::FinishUpload] {
            let inner = store();
            let away = || StoreError::Setup("away".into());
            let faulty = FaultStore::new(Arc::new(inner.clone()), move |call| {
                if call.verb == verb { Fault::Fail(away()) } else { Fault::Pass }
            });
            assert!(put(&faulty, &OpenUploads::default(), 1000).await.is_err());
            assert_eq!(inner.uploads("").await.unwrap(), []);
        }
        let inner = store();
        for size in [5, 500] {
            let write = move |writer: &mut PieceWriter| -> Result<(), StoreError> {
                writer.write_all(&body(size)).map_err(|error| StoreError::Setup(error.to_string()))?;
                Err(StoreError::Setup("half of it".into()))
            };
            let error = put_pieces(&inner, "k", 10, &OpenUploads::default(), write).await.unwrap_err();
            assert!(error.to_string().contains("half of it"), "{error}");
        }
        assert!(matches!(inner.get("k").await, Err(StoreError::NotFound { .. })));
        assert_eq!(inner.uploads("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_write_that_is_dropped_half_way_can_be_aborted() {
        let inner = store();
        let (faulty, open) = (
            FaultStore::new(Arc::new(inner.clone()), |call| match call.verb {
                Verb::UploadPart => Fault::Hang,
                _ => Fault::Pass,
            }),
            OpenUploads::default(),
        );
        let writing = put(&faulty, &open, 1000);
        tokio::select! {
            _ = writing => unreachable!(),
            () = async { while open.count() == 0 { tokio::task::yield_now().await } } => {}
        }
        open.abort(&inner).await;
        assert_eq!(inner.uploads("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_bytes_that_are_read_are_those_of_the_object() {
        for size in [10, 11, 20, 95] {
            let store = store();
            store.put("k", body(size).into()).await.unwrap();
            let first = store.get_range("k", 0, 10).await.unwrap();
            let all = |reader: &mut PieceReader| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes).unwrap()
            };
            assert_eq!(read_pieces(&store, "k", first.clone(), size as u64, all).await.unwrap(), body(size));
            read_pieces(&store, "k", first, size as u64, |_| ()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_object_of_more_bytes_than_it_may_have_is_not_read_to_its_end() {
        let store = FaultStore::watching(Arc::new(store()));
        store.put("k", body(1000).into()).await.unwrap();
        let first = store.get_range("k", 0, 10).await.unwrap();
        let all = |reader: &mut PieceReader| reader.read_to_end(&mut Vec::new());
        let error = read_pieces(&store, "k", first, 35, all).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { size: 40, most: 35, .. }), "{error}");
        assert_eq!(store.count(Verb::GetRange), 4);
    }
}
