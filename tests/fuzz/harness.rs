//! Tries inputs one after another, watched from another thread.

use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use milvus_backup_operator::manifest::operator_manifest::digest;

use super::MEMORY;
use super::mutate::Dice;

/// One input takes less, on a machine with other work too.
const LONGEST: Duration = Duration::from_secs(30);

/// Most memory one input may take.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Whatever its length.
    pub fixed: usize,
    /// For each of its bytes.
    pub per_byte: usize,
}

/// A parser under test.
pub struct Target {
    /// Of the test: also the folder of its corpus.
    pub name: &'static str,
    /// Good files.
    pub seeds: Vec<Vec<u8>>,
    /// Makes a damaged file of them.
    pub damage: fn(&mut Dice, &[Vec<u8>]) -> Vec<u8>,
    /// What one input may take.
    pub memory: Memory,
}

/// Memory is that of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

type Current = Arc<Mutex<Option<(Instant, Bytes)>>>;

/// Tries the corpus, the seeds, and damaged seeds until the time is up. `check` says what is wrong with an answer.
pub fn explore(target: Target, check: impl Fn(&Bytes) -> Result<(), String> + Send + 'static) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (name, seed) = (target.name, setting("FUZZ_SEED").unwrap_or_else(clock));
    let until = Instant::now() + Duration::from_secs(setting("FUZZ_SECONDS").unwrap_or(2));
    let current = Current::default();
    let (sender, receiver) = channel();
    let watched = current.clone();
    std::thread::spawn(move || sender.send(work(&target, seed, until, &watched, &check)));
    loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(Ok(tried)) => return println!("{name}: {tried} inputs, FUZZ_SEED={seed}"),
            Ok(Err((input, why))) => fail(name, seed, &input, &why),
            Err(RecvTimeoutError::Disconnected) => panic!("{name}: the worker is gone, FUZZ_SEED={seed}"),
            Err(RecvTimeoutError::Timeout) => {
                let running = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((started, input)) = running
                    && started.elapsed() > LONGEST
                {
                    fail(name, seed, &input, &format!("it takes longer than {LONGEST:?}"));
                }
            }
        }
    }
}

/// The memory an act takes at most beyond what is held already.
pub fn peak_of<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let answer = act();
    (answer, MEMORY.peak_usage().saturating_sub(before))
}

/// As [`peak_of`], with no other test beside it.
pub fn alone<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    peak_of(act)
}

fn work(
    target: &Target,
    seed: u64,
    until: Instant,
    current: &Current,
    check: &impl Fn(&Bytes) -> Result<(), String>,
) -> Result<usize, (Bytes, String)> {
    let mut dice = Dice::new(seed);
    let mut running = Running::begin(target.name);
    let first = running.died_over.take().into_iter().chain(kept(target.name)).chain(target.seeds.iter().cloned());
    let mut first: Vec<Vec<u8>> = first.collect();
    first.reverse();
    let mut tried = 0;
    loop {
        let input = match first.pop() {
            Some(input) => input,
            None if Instant::now() > until => break,
            None => (target.damage)(&mut dice, &target.seeds),
        };
        let input = Bytes::from(input);
        running.note(&input);
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), input.clone()));
        let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| check(&input))));
        *current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let most = target.memory.fixed + target.memory.per_byte * input.len();
        let wrong = match outcome {
            Err(_) => Some("it panics".to_owned()),
            Ok(Err(why)) => Some(why),
            Ok(Ok(())) if peak > most => Some(format!("{} bytes make it take {peak} bytes of memory", input.len())),
            Ok(Ok(())) => None,
        };
        if let Some(why) = wrong {
            running.end();
            return Err((input, why));
        }
        tried += 1;
    }
    running.end();
    Ok(tried)
}

fn fail(name: &str, seed: u64, input: &Bytes, why: &str) -> ! {
    let folder = found(name);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{}.bin", &digest(input)[..16]));
    std::fs::write(&file, input).unwrap();
    panic!("{name}: {why}\n  input: {} ({} bytes), FUZZ_SEED={seed}", file.display(), input.len());
}

/// Where failing inputs are kept.
fn found(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(name)
}

/// Inputs that failed once.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let folders = [corpus, found(name)].into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> = folders.flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The input under way in a file: what is found there at the beginning has ended the process (out of memory or stack).
struct Running {
    path: PathBuf,
    file: File,
    died_over: Option<Vec<u8>>,
}

impl Running {
    fn begin(name: &str) -> Running {
        let path = found(name).with_extension("running");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let died_over = std::fs::read(&path).ok();
        Running { file: File::create(&path).unwrap(), path, died_over }
    }

    fn note(&mut self, input: &[u8]) {
        self.file.set_len(0).unwrap();
        self.file.rewind().unwrap();
        self.file.write_all(input).unwrap();
    }

    fn end(self) {
        std::fs::remove_file(self.path).unwrap();
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}
