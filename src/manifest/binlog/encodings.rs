//! Numbers packed into bits: runs, groups and differences. Source: the Parquet format's encodings page.

use super::thrift::Cause;

/// Places in a dictionary, `count` of them.
pub(super) fn indexes(bytes: &[u8], count: usize) -> Result<Vec<u32>, Cause> {
    let mut indexes = Vec::new();
    let Some((width, runs)) = bytes.split_first() else {
        return if count == 0 { Ok(indexes) } else { Err("the indexes are cut".to_owned()) };
    };
    hybrid(runs, u32::from(*width), count, |index, times| indexes.resize(indexes.len() + times, index))?;
    Ok(indexes)
}

/// Runs of equal values and groups of bit-packed ones; `each` gets a value and how often it follows, `count` in all.
pub(super) fn hybrid(bytes: &[u8], width: u32, count: usize, mut each: impl FnMut(u32, usize)) -> Result<(), Cause> {
    if width > 32 {
        return Err(format!("values of {width} bits"));
    }
    let mut bits = Bits { bytes, bit: 0 };
    let mut left = count;
    while left > 0 {
        let head = bits.varint()?;
        let number = usize::try_from(head >> 1).map_err(|_| "a run is too long".to_owned())?;
        if number == 0 {
            return Err("a run is empty".to_owned());
        }
        if head & 1 == 0 {
            let value = bits.take(width.div_ceil(8) * 8)?;
            let times = number.min(left);
            each(u32::try_from(value).map_err(|_| "a value is too large".to_owned())?, times);
            left -= times;
        } else {
            let packed = number.saturating_mul(8);
            if width == 0 {
                let times = packed.min(left);
                each(0, times);
                left -= times;
                continue;
            }
            for _ in 0..packed.min(left) {
                each(bits.take(width)? as u32, 1);
            }
            let padding = packed - packed.min(left);
            left -= packed.min(left);
            // Only the last group may be padded, and the padding may be left out.
            bits.bit = bits.bit.saturating_add(padding.saturating_mul(width as usize));
        }
    }
    Ok(())
}

/// Differences in blocks of mini-blocks, each packed with its own width.
pub(super) fn deltas(bytes: &[u8], count: usize, values: &mut Vec<i64>) -> Result<(), Cause> {
    let mut bits = Bits { bytes, bit: 0 };
    let (block, minis, total) = (bits.varint()?, bits.varint()?, bits.varint()?);
    if total != count as u64 {
        return Err(format!("{total} packed values, the page has {count}"));
    }
    if block == 0
        || block % 128 != 0
        || block > 1 << 20
        || minis == 0
        || block % minis != 0
        || (block / minis) % 32 != 0
    {
        return Err(format!("blocks of {block} values in {minis} parts"));
    }
    let per_mini = block / minis;
    let mut left = total;
    if left == 0 {
        return Ok(());
    }
    let mut value = bits.zigzag()?;
    values.push(value);
    left -= 1;
    while left > 0 {
        let least = bits.zigzag()?;
        let widths = bits.bytes_at(usize::try_from(minis).map_err(|_| "too many parts".to_owned())?)?;
        for width in widths {
            if left == 0 {
                break;
            }
            if *width > 64 {
                return Err(format!("differences of {width} bits"));
            }
            let width = u32::from(*width);
            let here = left.min(per_mini);
            for _ in 0..here {
                let delta = bits.take(width)?.cast_signed();
                value = value.wrapping_add(least).wrapping_add(delta);
                values.push(value);
            }
            let padding = usize::try_from(per_mini - here).map_err(|_| "a part is too long".to_owned())?;
            bits.bit = bits.bit.saturating_add(padding.saturating_mul(width as usize));
            left -= here;
        }
    }
    Ok(())
}

/// Reads bits from the lowest up.
struct Bits<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl<'a> Bits<'a> {
    fn take(&mut self, width: u32) -> Result<u64, Cause> {
        let mut value = 0_u64;
        let mut have = 0;
        while have < width {
            let byte = self.bytes.get(self.bit / 8).ok_or_else(|| "the packed values are cut".to_owned())?;
            let offset = (self.bit % 8) as u32;
            let here = (8 - offset).min(width - have);
            let piece = (u64::from(*byte) >> offset) & ((1 << here) - 1);
            value |= piece << have;
            have += here;
            self.bit += here as usize;
        }
        Ok(value)
    }

    fn varint(&mut self) -> Result<u64, Cause> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(8)?;
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn zigzag(&mut self) -> Result<i64, Cause> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Whole bytes; only called where the position is one.
    fn bytes_at(&mut self, length: usize) -> Result<&'a [u8], Cause> {
        let start = self.bit.div_ceil(8);
        let taken = self.bytes.get(start..).and_then(|rest| rest.get(..length));
        self.bit = start.saturating_add(length).saturating_mul(8);
        taken.ok_or_else(|| "the packed values are cut".to_owned())
    }
}
