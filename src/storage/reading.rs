//! Bodies of answers: read piece by piece into memory, and a range that is read on where the last attempt broke.

use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};

use super::failure::{Failure, Kind};

/// An answer whose body has not been read yet.
pub(super) struct Opened {
    pub(super) body: ByteStream,
    /// Bytes it says it has.
    pub(super) announced: Option<u64>,
    /// ETag of the version it is of.
    pub(super) etag: Option<String>,
    /// Its `Content-Range`.
    pub(super) range: Option<String>,
}

/// A range while it is read, over several attempts.
#[derive(Default)]
pub(super) struct Reading {
    /// ETag of the version that is read; none until the first answer.
    pub(super) version: Option<String>,
    pub(super) body: BytesMut,
}

impl Reading {
    /// Of this version, or of the one that the first answer is of.
    pub(super) fn of(version: Option<&str>) -> Reading {
        Reading { version: version.map(str::to_owned), body: BytesMut::new() }
    }

    /// One attempt to read what is missing of a range: from where the last one broke, of the same version. The ETag of the
    /// answer is compared, not asked for by `If-Match`: that holds on services that do not know the condition, too.
    /// `open` asks for so many bytes from an offset; it and each piece of the body may take `limit`.
    pub(super) async fn go_on<Open, Opening>(
        &mut self,
        limit: Duration,
        offset: u64,
        length: u64,
        open: Open,
    ) -> Result<(), Failure>
    where
        Open: FnOnce(u64, u64) -> Opening,
        Opening: Future<Output = Result<Opened, Failure>>,
    {
        let got = self.body.len() as u64;
        if got >= length {
            return Ok(());
        }
        let start = offset.saturating_add(got);
        let opened = tokio::time::timeout(limit, open(start, length - got)).await;
        let answer = match opened.unwrap_or_else(|_| Err(Failure::timed_out(limit))) {
            // The object ends where the stream broke.
            Err(failure) if failure.kind == Kind::BehindEnd && got > 0 => return Ok(()),
            answer => answer?,
        };
        if start > 0 && !answer.range.as_ref().is_some_and(|range| range.starts_with(&format!("bytes {start}-"))) {
            let said = answer.range.as_deref().unwrap_or("the whole object");
            return Err(Failure::new(Kind::Rejected, "OtherRange", format!("asked from byte {start} it sends {said}")));
        }
        match (answer.etag, &self.version) {
            (Some(found), Some(version)) if found != *version => return Err(Failure::replaced(version, &found)),
            (found, None) => self.version = found,
            _ => {}
        }
        let room = answer.announced.unwrap_or(0).min(length - got);
        collect(limit, answer.body, room, length, &mut self.body).await
    }
}

/// Room made for a whole object by what the service announces; more comes with the bytes.
const RESERVED: u64 = 64 << 20;
/// From this size on an object gets ...
const LARGE: u64 = 1 << 20;
/// ... memory of its own, which the system has back as soon as it is dropped. What is smaller than 32 MiB comes from what the
/// allocator has kept of earlier ones, and objects of many sizes leave gaps there that add up to more than they are
/// (mallopt(3), M_MMAP_THRESHOLD). What is not written to is not resident.
const OF_ITS_OWN: u64 = 33 << 20;

/// How many bytes to ask the allocator for, for a whole object of so many.
pub(super) fn room(bytes: u64) -> u64 {
    if bytes < LARGE { bytes } else { bytes.clamp(OF_ITS_OWN, RESERVED) }
}

/// Reads a whole object of at most so many bytes. What the service announces is judged before a byte of it is read.
pub(super) async fn whole(limit: Duration, opened: Opened, most: u64) -> Result<(Bytes, String), Failure> {
    let announced = opened.announced.unwrap_or(0);
    if announced > most {
        return Err(Failure::too_large(announced, most));
    }
    let mut body = BytesMut::new();
    match collect(limit, opened.body, room(announced), most, &mut body).await {
        Err(failure) if failure.kind == Kind::TooLong => Err(Failure::too_large(body.len() as u64, most)),
        Err(failure) => Err(failure),
        Ok(()) => Ok((body.freeze(), opened.etag.unwrap_or_default())),
    }
}

/// Reads a body piece by piece to the end of a buffer, in which there are at most so many bytes; gives up on a piece that
/// does not come within `limit`. What came before is in the buffer then. For so many bytes `room` is made before.
pub(super) async fn collect(
    limit: Duration,
    mut body: ByteStream,
    room: u64,
    most: u64,
    buffer: &mut BytesMut,
) -> Result<(), Failure> {
    buffer.reserve(usize::try_from(room).unwrap_or(0));
    loop {
        let piece = tokio::time::timeout(limit, body.next()).await.map_err(|_| Failure::timed_out(limit))?;
        let Some(piece) = piece else { return Ok(()) };
        buffer.extend_from_slice(&piece?);
        if buffer.len() as u64 > most {
            return Err(Failure::new(Kind::TooLong, "TooLong", "the service answered more than was asked for"));
        }
    }
}

/// ETags travel in quotes and live without.
pub(super) fn bare_etag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Both ends count.
pub(super) fn byte_range(offset: u64, length: u64) -> String {
    format!("bytes={offset}-{}", offset.saturating_add(length).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use aws_sdk_s3::primitives::SdkBody;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// A body of pieces of 10 bytes without end, that announces so many.
    fn endless(announced: Option<u64>) -> Opened {
        let pieces =
            futures::stream::repeat(()).map(|()| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 10]))));
        let body = ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(pieces)));
        Opened { body, announced, etag: None, range: None }
    }

    #[tokio::test]
    async fn a_whole_object_is_read_no_further_than_it_may_be_long() {
        let limit = Duration::from_secs(1);
        for (announced, size) in [(Some(1000), 1000), (Some(36), 36), (Some(7), 40), (None, 40)] {
            let failure = whole(limit, endless(announced), 35).await.unwrap_err();
            assert_eq!(failure.kind, Kind::TooLarge { size, most: 35 }, "{announced:?}");
        }
        let opened = Opened { body: ByteStream::from_static(b"12345"), ..endless(Some(5)) };
        assert_eq!(whole(limit, opened, 5).await.unwrap().0, "12345");
    }

    #[test]
    fn a_range_counts_both_its_ends() {
        assert_eq!(byte_range(0, 1), "bytes=0-0");
        assert_eq!(byte_range(10, 5), "bytes=10-14");
    }
}
