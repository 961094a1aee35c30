//! How good files are damaged: single bits, lengths that lie, pieces that are gone, doubled, or of another file.

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

/// Chance, repeatable by its seed.
pub struct Dice(TestRng);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        let seed: Vec<u8> = [seed; 4].iter().flat_map(|part| part.to_le_bytes()).collect();
        Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }

    /// A number below `bound`; 0 where there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.0.random_range(0..bound) }
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// A place in a file; every other time near an end, where headers and footers are.
    fn place(&mut self, length: usize) -> usize {
        let near = length.min(300);
        match self.below(4) {
            0 => self.below(near),
            1 => length - 1 - self.below(near),
            _ => self.below(length),
        }
    }
}

const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0xff_ffff_ffff,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Any file.
pub fn bytes(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).clone();
    for _ in 0..=dice.below(5) {
        strike(dice, &mut bytes, seeds);
    }
    bytes
}

fn strike(dice: &mut Dice, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    if bytes.is_empty() {
        return bytes.extend(dice.pick(seeds));
    }
    let at = dice.place(bytes.len());
    let longest = if dice.one_in(3) { bytes.len() } else { 16 };
    let long = 1 + dice.below(longest);
    let end = (at + long).min(bytes.len());
    match dice.below(10) {
        0 | 1 => bytes[at] ^= 1 << dice.below(8),
        2 => bytes[at] = dice.below(256) as u8,
        3 => {
            let number = dice.pick(&NUMBERS).to_le_bytes();
            let width = *dice.pick(&[1, 2, 4, 8]);
            overwrite(bytes, at, &number[..width]);
        }
        4 => {
            let number = varint(*dice.pick(&NUMBERS));
            if dice.one_in(2) {
                overwrite(bytes, at, &number);
            } else {
                bytes.splice(at..at + 1, number);
            }
        }
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..end)),
        7 => {
            let piece = bytes[at..end].to_vec();
            let times = 1 + dice.below(if piece.len() < 64 { 64 } else { 2 });
            bytes.splice(at..at, piece.repeat(times));
        }
        8 => {
            let other = dice.pick(seeds);
            let from = dice.below(other.len());
            let to = (from + long).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => bytes[at..end].fill(*dice.pick(&[0, 0xff])),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..].iter_mut().zip(with).for_each(|(byte, new)| *byte = *new);
}

/// As Thrift and Parquet write numbers.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// JSON: mostly damaged where it still is JSON.
pub fn json(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = dice.pick(seeds);
    let Ok(mut value) = serde_json::from_slice::<Value>(seed) else { return bytes(dice, seeds) };
    if dice.one_in(4) {
        return bytes(dice, seeds);
    }
    for _ in 0..=dice.below(4) {
        let nodes = count(&value);
        let other = at(&value, dice.below(nodes)).clone();
        let node = at_mut(&mut value, dice.below(nodes));
        damage(dice, node, other);
    }
    value.to_string().into_bytes()
}

fn damage(dice: &mut Dice, node: &mut Value, other: Value) {
    match dice.below(8) {
        0 => *node = Value::Null,
        1 => *node = other,
        2 => {
            let lies =
                [json!(i64::MAX), json!(i64::MIN), json!(u64::MAX), json!(-1), json!(0), json!(1e300), json!(0.5)];
            *node = dice.pick(&lies).clone();
        }
        3 => {
            let lies =
                [json!(""), json!("\u{0}"), json!("../../x"), json!("é<>&\u{2028}"), json!([]), json!({}), json!(true)];
            *node = dice.pick(&lies).clone();
        }
        4 => *node = nested(dice.below(200)),
        5 if node.is_array() => {
            if let Some(elements) = node.as_array_mut()
                && !elements.is_empty()
            {
                let element = dice.pick(elements).clone();
                elements.extend(std::iter::repeat_n(element, 1 + dice.below(8)));
            }
        }
        6 if node.is_array() => node.as_array_mut().into_iter().for_each(Vec::clear),
        _ => match node {
            Value::Object(members) => {
                if let Some(name) = members.keys().nth(dice.below(members.len())).cloned() {
                    let member = members.remove(&name);
                    if dice.one_in(2) {
                        members.insert(format!("{name}x"), member.unwrap_or_default());
                    }
                }
            }
            Value::Number(number) => *node = json!(number.to_string()),
            Value::String(text) => *node = json!(text.parse::<i64>().unwrap_or(7)),
            _ => *node = other,
        },
    }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The node of this number, in order.
fn at(value: &Value, mut number: usize) -> &Value {
    let children: Vec<&Value> = match value {
        Value::Array(elements) if number > 0 => elements.iter().collect(),
        Value::Object(members) if number > 0 => members.values().collect(),
        _ => return value,
    };
    number -= 1;
    for child in children {
        let size = count(child);
        if number < size {
            return at(child, number);
        }
        number -= size;
    }
    value
}

fn at_mut(value: &mut Value, mut number: usize) -> &mut Value {
    if number == 0 || !(value.is_array() || value.is_object()) {
        return value;
    }
    number -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(elements) => elements.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => unreachable!("only these two have children"),
    };
    for child in children {
        let size = count(child);
        if number < size {
            return at_mut(child, number);
        }
        number -= size;
    }
    unreachable!("the number is below the count")
}
