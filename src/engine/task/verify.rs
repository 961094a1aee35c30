//! What a verification looks at, and what it tells.

use serde::{Deserialize, Serialize};

use super::{Limits, StoreTarget};

/// How closely an artifact is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyLevel {
    /// The metadata is read and compared with a listing: what is missing, of another size, replaced or too much.
    Manifest,
    /// Objects are also read, compared with their hashes and looked into.
    #[default]
    Checksum,
}

/// See whether an artifact is whole. Writes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyTask {
    /// Artifact name below `location`.
    pub artifact: String,
    /// Where it lives.
    pub location: StoreTarget,
    /// How closely.
    #[serde(default)]
    pub level: VerifyLevel,
    /// Share of the objects that `Checksum` reads, 1 to 100; at least one of each collection.
    #[serde(default = "all")]
    pub sample_percent: u8,
    /// Another seed is another choice of the same share.
    #[serde(default)]
    pub seed: u32,
    /// Bounds of what `Checksum` reads.
    #[serde(default)]
    pub limits: Limits,
}

fn all() -> u8 {
    100
}

/// Objects of which something is to be said: how many they are, and a sentence on the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectNames {
    /// How many.
    pub total: u64,
    /// The first, at most [`ObjectNames::SHOWN`].
    pub first: Vec<String>,
}

impl ObjectNames {
    /// How many are named.
    pub const SHOWN: usize = 20;

    /// One more.
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        self.total += 1;
        if self.first.len() < ObjectNames::SHOWN {
            self.first.push(what());
        }
    }

    /// Those of another list after ours.
    pub fn append(&mut self, other: ObjectNames) {
        self.total += other.total;
        self.first.extend(other.first);
        self.first.truncate(ObjectNames::SHOWN);
    }
}

/// What a verification has looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Verification {
    /// How closely it looked.
    pub level: VerifyLevel,
    /// Share of the objects that were to be read.
    pub sample_percent: u8,
    /// Which share: the same seed chooses the same objects.
    pub seed: u32,
    /// Objects of the artifact by its metadata.
    pub objects_total: u64,
    /// Objects that were compared with the listing (`Manifest`), or read (`Checksum`).
    pub objects_checked: u64,
    /// Of those read: compared with the MD5 that their ETag is.
    pub objects_hashed: u64,
    /// Of those read: looked into. Encrypted ones and files of snapshots are not.
    pub objects_parsed: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// How long it took.
    pub seconds: f64,
    /// What is not there.
    pub missing: ObjectNames,
    /// What is not as it was backed up.
    pub corrupt: ObjectNames,
    /// What is too much.
    pub stray: ObjectNames,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_says_no_more_than_where_reads_everything() {
        let task: VerifyTask =
            serde_json::from_str(r#"{"artifact":"nightly","location":{"bucket":"b","credentials":"ambient"}}"#)
                .unwrap();
        assert_eq!((task.level, task.sample_percent, task.seed), (VerifyLevel::Checksum, 100, 0));
        assert_eq!(task.limits, Limits::default());
    }

    #[test]
    fn as_many_objects_as_can_be_read_by_a_person_are_named_and_all_are_counted() {
        let mut names = ObjectNames::default();
        (0..30).for_each(|number| names.add(|| format!("object {number}")));
        assert_eq!((names.total, names.first.len()), (30, ObjectNames::SHOWN));
        assert_eq!(names.first.last().map(String::as_str), Some("object 19"));
    }
}
