//! Bodies of answers: read piece by piece into memory, and a range that is read on where the last attempt broke.

use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::BytesMut;

use super::failure::{Failure, Kind};

/// Room made for an object whose size nobody knows but by what the service announces; more comes with the bytes.
const RESERVED: u64 = 64 << 20;

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
        collect(limit, answer.body, answer.announced, Some(length), &mut self.body).await
    }
}

/// Reads a body piece by piece to the end of a buffer; gives up on a piece that does not come within `limit`. What came
/// before is in the buffer then.
pub(super) async fn collect(
    limit: Duration,
    mut body: ByteStream,
    announced: Option<u64>,
    at_most: Option<u64>,
    buffer: &mut BytesMut,
) -> Result<(), Failure> {
    let room = announced.unwrap_or(0).min(at_most.unwrap_or(RESERVED).saturating_sub(buffer.len() as u64));
    buffer.reserve(usize::try_from(room).unwrap_or(0));
    loop {
        let piece = tokio::time::timeout(limit, body.next()).await.map_err(|_| Failure::timed_out(limit))?;
        let Some(piece) = piece else { return Ok(()) };
        buffer.extend_from_slice(&piece?);
        if at_most.is_some_and(|most| buffer.len() as u64 > most) {
            return Err(Failure::new(Kind::Rejected, "TooLong", "the service answered more than was asked for"));
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
    use super::*;

    #[test]
    fn a_range_counts_both_its_ends() {
        assert_eq!(byte_range(0, 1), "bytes=0-0");
        assert_eq!(byte_range(10, 5), "bytes=10-14");
    }
}
