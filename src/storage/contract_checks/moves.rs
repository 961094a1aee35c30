//! Copies by the service, writes in parts, and what is built on them.

use anyhow::{Context, Result, ensure};

use super::{Desk, content, object};
use crate::storage::{ObjectMeta, Store, TransferOptions, Upload, sweep_uploads, transfer};

impl Desk<'_> {
    pub(in crate::storage) async fn copy_from(&self, source: &dyn Store) -> Result<()> {
        let body = content(300_000, 3);
        source.put(&self.key("from"), body.clone()).await?;
        let etag = self.store.copy(&object(source, self.key("from")), &self.key("to")).await?;
        ensure!(!etag.is_empty(), "no ETag");
        self.holds("to", &body).await
    }

    pub(in crate::storage) async fn multipart(&self) -> Result<()> {
        let (key, whole) = (self.key("a"), content(self.part * 2 + 100, 4));
        let upload = self.begin("a").await?;
        let mut parts = Vec::new();
        for number in [3, 1, 2] {
            let from = (number as usize - 1) * self.part;
            let to = if number == 3 { whole.len() } else { from + self.part };
            let body = whole.slice(from..to);
            parts.push(self.store.upload_part(&upload, number, from as u64, body).await?);
        }
        ensure!(self.names().await?.is_empty(), "it is there before its end");
        let etag = self.store.finish_upload(&upload, parts).await?;
        ensure!(!etag.is_empty(), "no ETag");
        self.holds("a", &whole).await?;
        let range = self.store.get_range(&key, self.part as u64 - 5, 10).await?;
        ensure!(range == whole[self.part - 5..self.part + 5], "a range over two parts differs");
        Ok(())
    }

    pub(in crate::storage) async fn parts_counted(&self) -> Result<()> {
        let upload = self.begin("a").await?;
        let mut parts = Vec::new();
        for number in 1..=2 {
            let offset = (number as usize - 1) * self.part;
            parts.push(self.store.upload_part(&upload, number, offset as u64, content(self.part, 9)).await?);
        }
        let etag = self.store.finish_upload(&upload, parts).await?;
        ensure!(etag.ends_with("-2"), "ETag {etag} of two parts");
        Ok(())
    }

    pub(in crate::storage) async fn copy_part(&self, source: &dyn Store) -> Result<()> {
        let part = self.part as u64;
        let whole = content(self.part * 2 + 100, 5);
        source.put(&self.key("from"), whole.clone()).await?;
        let (from, upload) = (object(source, self.key("from")), self.begin("to").await?);
        let mut parts = Vec::new();
        for (number, offset, length) in [(1, 0, part), (2, part, part), (3, part * 2, 100)] {
            parts.push(self.store.copy_part(&upload, number, &from, offset, length).await?);
        }
        self.store.finish_upload(&upload, parts).await?;
        self.holds("to", &whole).await
    }

    pub(in crate::storage) async fn abort(&self) -> Result<()> {
        let upload = self.begin("a").await?;
        let part = self.store.upload_part(&upload, 1, 0, content(self.part, 6)).await?;
        self.store.abort_upload(&upload).await?;
        ensure!(self.names().await?.is_empty(), "something is left");
        ensure!(self.store.finish_upload(&upload, vec![part]).await.is_err(), "it can still be finished");
        Ok(())
    }

    pub(in crate::storage) async fn abort_unknown(&self) -> Result<()> {
        let upload = self.begin("a").await?;
        self.store.abort_upload(&upload).await?;
        Ok(self.store.abort_upload(&upload).await?)
    }

    pub(in crate::storage) async fn list_uploads(&self) -> Result<()> {
        let (kept, other) = (self.begin("x/a").await?, self.begin("y/a").await?);
        let found = self.store.uploads(&self.key("x/")).await?;
        ensure!(found == [kept.clone()], "listed {found:?}, not {kept:?}");
        ensure!(sweep_uploads(self.store, &self.key("x/")).await? == 1, "swept another number");
        let left = self.store.uploads(&self.prefix).await?;
        ensure!(left == [other], "left {left:?}");
        Ok(())
    }

    pub(in crate::storage) async fn transfer_by_service(&self, source: &dyn Store) -> Result<()> {
        for (size, name) in [(0, "empty"), (1000, "small"), (self.part * 2 + 10, "large")] {
            let body = content(size, 7);
            source.put(&self.key(name), body.clone()).await?;
            let to = format!("moved/{name}");
            let from = meta(self.key(name), size);
            let moved = transfer(source, self.store, &from, &self.key(&to), &self.options()).await;
            let moved = moved.with_context(|| name.to_owned())?;
            ensure!(moved.server_side, "{name} went through here");
            self.holds(&to, &body).await?;
        }
        Ok(())
    }

    pub(in crate::storage) async fn transfer_by_stream(&self, foreign: &dyn Store) -> Result<()> {
        for (size, name) in [(0, "empty"), (1000, "small"), (self.part * 2 + 10, "large")] {
            let body = content(size, 8);
            let (there, back) = (self.key(name), self.key(&format!("back/{name}")));
            self.store.put(&there, body.clone()).await?;
            for (from, to, source, target) in
                [(&there, &there, self.store, foreign), (&there, &back, foreign, self.store)]
            {
                let moved = transfer(source, target, &meta(from.clone(), size), to, &self.options()).await;
                ensure!(!moved.with_context(|| name.to_owned())?.server_side, "{name} did not go through here");
            }
            self.holds(&format!("back/{name}"), &body).await?;
        }
        Ok(())
    }

    async fn begin(&self, name: &str) -> Result<Upload> {
        let key = self.key(name);
        let id = self.store.begin_upload(&key).await?;
        Ok(Upload { key, id })
    }

    fn options(&self) -> TransferOptions {
        let part = self.part as u64;
        TransferOptions {
            part_size: part,
            multipart_threshold: part,
            copy_part_size: part,
            ..TransferOptions::default()
        }
    }
}

/// As a service lists it that knows no ETags.
fn meta(key: String, size: usize) -> ObjectMeta {
    ObjectMeta { key, size: size as u64, etag: String::new() }
}
