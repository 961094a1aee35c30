//! Names: how they are listed, page by page and in which order, and how they go.

use anyhow::{Context, Result, bail, ensure};

use super::{Desk, object};
use crate::storage::{delete_prefix, list_all};

/// In byte order. Services that keep directories list `x/…` at the place of `x`.
const RELATED: [&str; 9] = ["x", "x!", "x-1/a", "x-1/b", "x.b", "x/a", "x/b/c", "x0", "y"];

impl Desk<'_> {
    pub(in crate::storage) async fn listed_meta(&self) -> Result<()> {
        let etag = self.put("a", b"12345").await?;
        let listed = list_all(self.store, &self.prefix).await?;
        let [only] = listed.as_slice() else { bail!("listed {listed:?}") };
        ensure!(only.size == 5 && only.etag == etag, "listed {only:?}, written as {etag}");
        Ok(())
    }

    pub(in crate::storage) async fn prefix_inside_name(&self) -> Result<()> {
        for name in ["name-1", "name-2", "nothing", "other"] {
            self.put(name, b"x").await?;
        }
        let found = list_all(self.store, &self.key("name")).await?;
        ensure!(found.len() == 2, "listed {found:?}");
        let found = list_all(self.store, &self.key("nobody")).await?;
        ensure!(found.is_empty(), "listed {found:?}");
        Ok(())
    }

    pub(in crate::storage) async fn paging(&self) -> Result<()> {
        let mut keys = self.fill(1001).await?;
        keys.sort();
        let first = self.store.list_page(&self.prefix, None).await?;
        ensure!(first.objects.len() == 1000, "the first page has {} objects", first.objects.len());
        let second = self.store.list_page(&self.prefix, first.next.as_deref()).await?;
        ensure!(second.next.is_none(), "there is a third page");
        let listed: Vec<&String> = first.objects.iter().chain(&second.objects).map(|object| &object.key).collect();
        ensure!(listed.iter().copied().eq(&keys), "{} of 1001 listed, or in another order", listed.len());
        Ok(())
    }

    async fn related_names(&self) -> Result<()> {
        for name in RELATED {
            self.put(name, b"x").await?;
        }
        Ok(())
    }

    pub(in crate::storage) async fn byte_order(&self) -> Result<()> {
        self.related_names().await?;
        let page = self.store.list_page(&self.prefix, None).await?;
        let found: Vec<&str> = page.objects.iter().filter_map(|object| object.key.strip_prefix(&self.prefix)).collect();
        ensure!(found == RELATED, "listed {found:?}, not {RELATED:?}");
        Ok(())
    }

    /// The first page ends between a name and what is below it.
    pub(in crate::storage) async fn complete_paging(&self) -> Result<()> {
        let before: Vec<String> = (0..999).map(|at| self.key(&format!("a{at:03}"))).collect();
        self.put_all(&before).await?;
        self.related_names().await?;
        let listed = list_all(self.store, &self.prefix).await?.len();
        let expected = before.len() + RELATED.len();
        ensure!(listed == expected, "listed {listed} of {expected}");
        Ok(())
    }

    pub(in crate::storage) async fn folders(&self) -> Result<()> {
        for name in ["b/1", "b/2/3", "a", "c-1/x", "c/y", "é/z"] {
            self.put(name, b"x").await?;
        }
        let found = self.store.folders(&self.prefix).await?;
        ensure!(found == ["b", "c", "c-1", "é"], "found {found:?}");
        let found = self.store.folders(&self.key("none/")).await?;
        ensure!(found.is_empty(), "found {found:?}");
        Ok(())
    }

    pub(in crate::storage) async fn odd_names(&self) -> Result<()> {
        let names = ["a b", "a%41", "a%b", "a&b=c", "a'b", "a(b)", "a+b", "a=b", "a@b:c", "aé/ü", "a日本"];
        for name in names {
            self.put(name, b"x").await.with_context(|| name.to_owned())?;
            self.holds(name, b"x").await.with_context(|| name.to_owned())?;
        }
        self.names_are(&names).await?;
        for name in names {
            let copied = self.store.copy(&object(self.store, self.key(name)), &self.key(&format!("copy/{name}"))).await;
            copied.with_context(|| format!("copy of {name}"))?;
        }
        let found = self.names().await?;
        let copies: Vec<&str> = found.iter().filter_map(|name| name.strip_prefix("copy/")).collect();
        ensure!(copies == names, "copied {copies:?}");
        self.store.delete(&names.map(|name| self.key(name))).await?;
        ensure!(self.names().await?.len() == names.len(), "not all of {names:?} were removed");
        Ok(())
    }

    pub(in crate::storage) async fn name_and_below(&self) -> Result<()> {
        self.put("a", b"1").await?;
        self.put("a/b", b"2").await?;
        self.holds("a", b"1").await?;
        self.holds("a/b", b"2").await?;
        self.names_are(&["a", "a/b"]).await?;
        self.store.delete(&[self.key("a")]).await?;
        self.names_are(&["a/b"]).await
    }

    pub(in crate::storage) async fn batch_delete(&self) -> Result<()> {
        let keys = self.fill(1001).await?;
        self.put("stays", b"x").await?;
        self.store.delete(&keys).await?;
        self.names_are(&["stays"]).await
    }

    pub(in crate::storage) async fn delete_missing(&self) -> Result<()> {
        self.put("a", b"x").await?;
        self.store.delete(&[self.key("none"), self.key("a"), self.key("none/either")]).await?;
        self.store.delete(&[self.key("none")]).await?;
        self.store.delete(&[]).await?;
        self.names_are(&[]).await
    }

    pub(in crate::storage) async fn delete_prefix(&self) -> Result<()> {
        for name in ["x/1", "x/2/3", "xy"] {
            self.put(name, b"x").await?;
        }
        let deleted = delete_prefix(self.store, &self.key("x/")).await?;
        ensure!(deleted == 2, "{deleted} deleted");
        self.names_are(&["xy"]).await
    }
}
