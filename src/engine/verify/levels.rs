//! What each level looks at: the listing, or also the chosen objects.

use std::collections::HashSet;

use futures::stream::{self, StreamExt};

use super::choose::Choice;
use super::files::{File, Files};
use super::found::{Hashes, Verified};
use super::read::Objects;
use crate::engine::artifact::{Artifact, Contents};
use crate::engine::counted::Counted;
use crate::engine::error::EngineError;
use crate::engine::inventory::Inventory;
use crate::engine::progress::Counters;
use crate::engine::proof;
use crate::engine::reader::Reader;
use crate::manifest::layout::log_path;
use crate::manifest::sealed;
use crate::storage::{ObjectMeta, Tag};

impl Verified {
    /// The listing beside the metadata.
    ///
    /// # Errors
    /// The store's; metadata that contradicts itself.
    pub async fn compare(
        &mut self,
        artifact: &Artifact,
        contents: &Contents,
        counters: &Counters,
    ) -> Result<(), EngineError> {
        let logs = Inventory::of(&contents.info.collection_backups);
        let mut listed = 0;
        let mut count = |_: Option<usize>, _: &ObjectMeta| {
            listed += 1;
            counters.objects(1, 0);
        };
        let compared = proof::compare_noting(artifact, contents, &logs, &mut count).await?;
        self.compared(contents, compared, listed);
        self.figures.objects_checked = self.figures.objects_total;
        counters.plan(contents.info.collection_backups.len() as u64, self.figures.objects_total, 0);
        Ok(())
    }

    /// The listing, and the content of the chosen objects.
    ///
    /// # Errors
    /// As [`Verified::compare`].
    pub async fn read(
        &mut self,
        artifact: &Artifact,
        contents: &Contents,
        (choice, reader): (Choice, &Reader),
        counters: &Counters,
    ) -> Result<(), EngineError> {
        let logs = Inventory::of(&contents.info.collection_backups);
        let chosen = choice.logs(&logs);
        let mut tags: Vec<Option<Tag>> = vec![None; logs.places()];
        let mut files = Files::of(&contents.info, choice);
        let mut listed = 0;
        let mut note = |place: Option<usize>, object: &ObjectMeta| {
            listed += 1;
            match place {
                Some(place) if chosen[place] => tags[place] = Some(Tag::from(object.etag.as_str())),
                Some(_) => {}
                None => files.offer(artifact.keys.relative(&object.key).unwrap_or_default(), object),
            }
        };
        let compared = proof::compare_noting(artifact, contents, &logs, &mut note).await?;
        self.compared(contents, compared, listed);
        let files = files.taken();
        let picked = logs.logs().filter(|log| tags[log.place].is_some());
        let (count, bytes) = picked.fold((0, 0), |(count, bytes), log| (count + 1, bytes + log.size));
        let of_files: u64 = files.iter().map(|file| file.size).sum();
        let collections = contents.info.collection_backups.len() as u64;
        counters.plan(collections, count + files.len() as u64, bytes + of_files);
        let objects = Objects { artifact, reader };
        let mut hashes = Hashes { believed: objects.tags_are_digests().await?, ..Hashes::default() };
        self.read_logs(objects, contents, (&logs, &tags), counters, &mut hashes).await?;
        self.read_files(objects, files, counters, &mut hashes).await?;
        self.settle(hashes);
        counters.collections(collections);
        Ok(())
    }

    async fn read_logs(
        &mut self,
        objects: Objects<'_>,
        contents: &Contents,
        (logs, tags): (&Inventory<'_>, &[Option<Tag>]),
        counters: &Counters,
        hashes: &mut Hashes,
    ) -> Result<(), EngineError> {
        let sealed: HashSet<i64> = sealed::collections(&contents.info);
        let sealed = &sealed;
        let picked = logs.segments().flat_map(|(segment, logs)| logs.map(move |log| (segment, log)));
        let picked = picked.filter_map(|(segment, log)| Some((segment, log, tags.get(log.place)?.as_ref()?)));
        let mut looks = stream::iter(picked)
            .map(|(segment, log, tag)| async move {
                let etag = tag.to_string();
                let look = match sealed.contains(&log.key.collection) {
                    true => objects.opaque(&objects.artifact.keys.log(&log.key, log.group), log.size, &etag).await?,
                    false => objects.log(&log, &etag).await?,
                };
                Ok::<_, EngineError>((segment, log, look))
            })
            .buffered(objects.reader.at_once());
        let mut counted = Counted::default();
        while let Some(look) = looks.next().await {
            let (segment, log, look) = look?;
            let rows = self.take(&log_path(&log.key, log.group), log.size, look, hashes);
            self.uneven(counted.add(segment, &log, rows));
            counters.objects(1, log.size);
        }
        self.uneven(counted.end());
        Ok(())
    }

    async fn read_files(
        &mut self,
        objects: Objects<'_>,
        files: Vec<File>,
        counters: &Counters,
        hashes: &mut Hashes,
    ) -> Result<(), EngineError> {
        let mut looks = stream::iter(files)
            .map(|file| async move {
                let look = objects.opaque(&file.key, file.size, &file.tag.to_string()).await?;
                Ok::<_, EngineError>((file, look))
            })
            .buffered(objects.reader.at_once());
        while let Some(look) = looks.next().await {
            let (file, look) = look?;
            self.take(objects.artifact.keys.relative(&file.key).unwrap_or_default(), file.size, look, hashes);
            counters.objects(1, file.size);
        }
        Ok(())
    }
}
