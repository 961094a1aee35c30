//! Every parser of bytes from a bucket or from etcd, on good files that were damaged at random and on files that lie.
//!
//! What holds for any bytes: no panic, no endless work, no memory by the word of a length field, an error that names what
//! cannot be read, and what is read means the same when it is written again. Each test takes `FUZZ_SECONDS` (2) with the seed
//! `FUZZ_SEED` (from the clock; every failure names it). An input that fails is kept and tried first from then on, until it
//! passes; moved to `tests/fuzz/corpus/<test>/` it is tried for ever.
//!
//! - [`harness`]: the loop, the clock, the memory.
//! - [`mutate`]: how files are damaged.
//! - [`metadata`], [`logs`], [`artifact`], [`stored`]: the parsers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a seed is to be seen")]

mod artifact;
mod harness;
mod logs;
mod metadata;
mod mutate;
mod stored;

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
