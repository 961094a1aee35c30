//! The compact encoding of Thrift, as far as Parquet headers use it; reads without trust.
//!
//! Why not the `parquet` crate: it reserves memory by counts found in the bytes and asserts on offsets, so that a
//! damaged file could abort the process. Here every count is bounded by the bytes that are left. The tests hold both
//! against each other.

/// What is wrong with a header; the caller adds the place.
pub(super) type Cause = String;

/// Nesting no Parquet header comes near.
const DEPTH_LIMIT: u8 = 16;

/// Kinds of values.
pub(super) mod kind {
    pub(in super::super) const TRUE: u8 = 1;
    pub(in super::super) const FALSE: u8 = 2;
    pub(in super::super) const BYTE: u8 = 3;
    pub(in super::super) const I16: u8 = 4;
    pub(in super::super) const I32: u8 = 5;
    pub(in super::super) const I64: u8 = 6;
    pub(in super::super) const DOUBLE: u8 = 7;
    pub(in super::super) const BINARY: u8 = 8;
    pub(in super::super) const LIST: u8 = 9;
    pub(in super::super) const SET: u8 = 10;
    pub(in super::super) const MAP: u8 = 11;
    pub(in super::super) const STRUCT: u8 = 12;
}

/// A reader at some byte.
#[derive(Debug, Clone)]
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u8,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Thrift<'a> {
        Thrift { bytes, at: 0, depth: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Cause> {
        let taken = self.bytes[self.at..].get(..length).ok_or_else(|| "the header is cut".to_owned())?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Cause> {
        self.take(1).map(|byte| byte[0])
    }

    fn varint(&mut self) -> Result<u64, Cause> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn integer(&mut self) -> Result<i64, Cause> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn binary(&mut self) -> Result<&'a [u8], Cause> {
        let length = usize::try_from(self.varint()?).map_err(|_| "the header is cut".to_owned())?;
        self.take(length)
    }

    /// Reads one structure: `field` is called for each field with its id and kind and either reads the value, answering
    /// true, or leaves it to be skipped, answering false.
    pub(super) fn structure(
        &mut self,
        mut field: impl FnMut(&mut Thrift<'a>, i64, u8) -> Result<bool, Cause>,
    ) -> Result<(), Cause> {
        self.enter()?;
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                break;
            }
            id = match head >> 4 {
                0 => self.integer()?,
                delta => id.saturating_add(i64::from(delta)),
            };
            if !field(self, id, kind)? {
                self.skip(kind)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a list of structures.
    pub(super) fn structures(
        &mut self,
        kind: u8,
        mut element: impl FnMut(&mut Thrift<'a>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let (element_kind, size) = self.list(kind)?;
        if size > 0 && element_kind != kind::STRUCT {
            return Err(format!("a list holds values of kind {element_kind} where structures should be"));
        }
        for _ in 0..size {
            element(self)?;
        }
        Ok(())
    }

    /// An integer that is not negative.
    pub(super) fn count(&mut self, kind: u8) -> Result<u64, Cause> {
        let value = self.signed(kind)?;
        u64::try_from(value).map_err(|_| format!("a size is {value}"))
    }

    /// An integer.
    pub(super) fn signed(&mut self, kind: u8) -> Result<i64, Cause> {
        match kind {
            kind::I16 | kind::I32 | kind::I64 => self.integer(),
            other => Err(format!("a value is of kind {other} where a number should be")),
        }
    }

    /// A truth value, which is all in its kind.
    pub(super) fn boolean(kind: u8) -> Result<bool, Cause> {
        match kind {
            kind::TRUE => Ok(true),
            kind::FALSE => Ok(false),
            other => Err(format!("a value is of kind {other} where a truth value should be")),
        }
    }

    /// Kind and number of a list's elements; never more than bytes are left, as each takes at least one.
    fn list(&mut self, kind: u8) -> Result<(u8, usize), Cause> {
        if kind != kind::LIST && kind != kind::SET {
            return Err(format!("a value is of kind {kind} where a list should be"));
        }
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        let left = self.bytes.len() - self.at;
        match usize::try_from(size) {
            Ok(size) if size <= left => Ok((head & 0x0f, size)),
            _ => Err(format!("a list of {size} elements in {left} bytes")),
        }
    }

    fn enter(&mut self) -> Result<(), Cause> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT { Err("structures are nested too deep".to_owned()) } else { Ok(()) }
    }

    fn skip(&mut self, kind: u8) -> Result<(), Cause> {
        match kind {
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.byte().map(drop),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(drop),
            kind::DOUBLE => self.take(8).map(drop),
            kind::BINARY => self.binary().map(drop),
            kind::STRUCT => self.structure(|_, _, _| Ok(false)),
            kind::LIST | kind::SET => {
                let (element, size) = self.list(kind)?;
                self.skip_all(size, element)
            }
            kind::MAP => {
                let size = self.varint()?;
                if size == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                let left = self.bytes.len() - self.at;
                let size = usize::try_from(size).ok().filter(|size| *size <= left).ok_or("a map is cut".to_owned())?;
                for _ in 0..size {
                    self.skip_all(1, kinds >> 4)?;
                    self.skip_all(1, kinds & 0x0f)?;
                }
                Ok(())
            }
            other => Err(format!("unknown kind of value {other}")),
        }
    }

    /// Skips elements of a container, in which a truth value takes a byte.
    fn skip_all(&mut self, size: usize, kind: u8) -> Result<(), Cause> {
        self.enter()?;
        for _ in 0..size {
            match kind {
                kind::TRUE | kind::FALSE => self.byte().map(drop)?,
                other => self.skip(other)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_read_by_id_and_others_skipped() {
        // 1: i32 7, 3: binary "ab", 4: list of two i32, 5: true, 20 (long form): i64 -1, stop
        let bytes = [0x15, 14, 0x28, 2, b'a', b'b', 0x19, 0x25, 2, 4, 0x11, 0x06, 40, 1, 0, 99];
        let mut thrift = Thrift::new(&bytes);
        let mut seen = Vec::new();
        thrift
            .structure(|thrift, id, kind| {
                match id {
                    1 => seen.push(thrift.count(kind)?.cast_signed()),
                    5 => seen.push(i64::from(Thrift::boolean(kind)?)),
                    20 => seen.push(thrift.signed(kind)?),
                    _ => return Ok(false),
                }
                Ok(true)
            })
            .unwrap();
        assert_eq!(seen, [7, 1, -1]);
        assert_eq!(thrift.position(), bytes.len() - 1);
    }

    #[test]
    fn a_list_larger_than_its_bytes_is_refused_before_anything_is_reserved() {
        let bytes = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f];
        let mut thrift = Thrift::new(&bytes);
        let error = thrift.structure(|thrift, _, kind| thrift.structures(kind, |_| Ok(())).map(|()| true)).unwrap_err();
        assert!(error.contains("4294967295 elements in 0 bytes"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_run_away(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut thrift = Thrift::new(&bytes);
            let _ = thrift.structure(|_, _, _| Ok(false));
            prop_assert!(thrift.position() <= bytes.len());
        }
    }
}
