//! Pure: what a verification has found, and what each object that was read adds to it.

use super::read::Look;
use crate::engine::artifact::Contents;
use crate::engine::proof::{Compared, Findings, Wrong};
use crate::engine::task::{ObjectNames, Verification};

/// What is found, piece by piece.
#[derive(Debug, Default)]
pub struct Verified {
    /// What was done, and how much of it.
    pub figures: Verification,
    /// What is wrong.
    pub findings: Findings,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// What the ETags of a store have shown.
#[derive(Debug, Default)]
pub struct Hashes {
    /// Some of them are the hash of the content.
    pub believed: bool,
    /// Objects whose content has another hash.
    pub doubted: ObjectNames,
}

impl Verified {
    /// The listing was compared with the metadata; so many objects are there in their size.
    pub fn compared(&mut self, contents: &Contents, compared: Compared, listed: u64) {
        self.findings = compared.findings;
        self.figures.objects_total = listed + self.findings.missing.total + self.findings.corrupt.total;
        if self.findings.unknown > 0 {
            self.warnings.push(format!(
                "{} objects below binlogs/ or bundle/ are no part of the backup; nothing reads them",
                self.findings.unknown
            ));
        }
        if contents.manifest.is_none() {
            self.warnings.push(
                "milvus-backup made this backup: it records no hashes, so an object that was replaced by a whole one of the same size \
                 and ids is not told from the original"
                    .to_owned(),
            );
        }
    }

    /// One object that was read; its rows, where they can be counted.
    pub fn take(&mut self, path: &str, size: u64, look: Option<Look>, hashes: &mut Hashes) -> Option<u64> {
        let Some(Look { bytes, found, matches, inside }) = look else {
            self.findings.add(Wrong::Missing, || format!("{path} is missing"));
            return None;
        };
        self.figures.objects_checked += 1;
        self.figures.bytes_read += bytes;
        self.figures.objects_hashed += u64::from(matches.is_some());
        self.figures.objects_parsed += u64::from(inside.is_some());
        hashes.believed |= matches == Some(true);
        if found != size {
            self.findings.add(Wrong::Corrupt, || format!("{path} has {found} bytes instead of {size}"));
            return None;
        }
        match inside {
            Some(Err(error)) => {
                self.findings.add(Wrong::Corrupt, || format!("{path}: {error}"));
                return None;
            }
            _ if matches == Some(false) => {
                hashes.doubted.add(|| format!("{path}: its content has not the MD5 that is its ETag"));
            }
            _ => {}
        }
        inside.and_then(Result::ok)
    }

    /// Fields that have not the rows of their segment.
    pub fn uneven(&mut self, said: Vec<String>) {
        said.into_iter().for_each(|said| self.findings.add(Wrong::Corrupt, || said));
    }

    /// Where not one ETag is the hash of what it stands for, they are none, and say nothing.
    pub fn settle(&mut self, hashes: Hashes) {
        let Hashes { believed, doubted } = hashes;
        if doubted.total == 0 {
            return;
        }
        if believed {
            self.findings.corrupt.append(doubted);
            return;
        }
        self.figures.objects_hashed = self.figures.objects_hashed.saturating_sub(doubted.total);
        self.warnings.push(
            "the ETags of this store are no MD5 of the content (it may encrypt with a key of its own): no hash was compared"
                .to_owned(),
        );
    }
}
