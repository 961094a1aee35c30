//! Listings: page by page where they are long, or whole.

use std::collections::BTreeSet;
use std::future::Future;

use super::{ObjectMeta, Store, StoreError};

/// A listing that is read page by page, in the order of the service. What is listed twice comes twice.
#[derive(Debug)]
pub struct Listing<'s> {
    store: &'s dyn Store,
    prefix: String,
    after: Option<String>,
    ended: bool,
}

impl<'s> Listing<'s> {
    /// Of all objects whose keys start with `prefix`.
    pub fn new(store: &'s dyn Store, prefix: impl Into<String>) -> Listing<'s> {
        Listing { store, prefix: prefix.into(), after: None, ended: false }
    }

    /// The next page, which may be empty; none after the last.
    ///
    /// # Errors
    /// The store's; a service that answers the same page again.
    pub async fn next(&mut self) -> Result<Option<Vec<ObjectMeta>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.list_page(&self.prefix, self.after.as_deref()).await?;
        self.ended = page.next.is_none();
        if !self.ended && page.next == self.after {
            let cause = "the listing does not move on".into();
            return Err(StoreError::Rejected {
                place: self.store.place().to_string(),
                act: "list objects".into(),
                cause,
            });
        }
        self.after = page.next;
        Ok(Some(page.objects))
    }
}

/// The names of the folders right below `prefix`, ascending. `page` asks for what is listed behind a mark, and answers keys
/// or folders, and the next mark.
pub(super) async fn names_below<Ask, Asking>(prefix: &str, page: Ask) -> Result<Vec<String>, StoreError>
where
    Ask: Fn(Option<String>) -> Asking,
    Asking: Future<Output = Result<(Vec<String>, Option<String>), StoreError>>,
{
    let mut names = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let (listed, next) = page(after.clone()).await?;
        let below = listed.iter().filter_map(|listed| listed.strip_prefix(prefix)?.split_once('/'));
        names.extend(below.map(|(name, _)| name.to_owned()));
        if next.is_none() || next == after {
            return Ok(names.into_iter().collect());
        }
        after = next;
    }
}

/// All objects whose keys start with `prefix`, in ascending byte order of keys.
pub async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut objects = Vec::new();
    let mut listing = Listing::new(store, prefix);
    while let Some(page) = listing.next().await? {
        objects.extend(page);
    }
    // Some services list directory by directory, which is another order where a name is the beginning of another.
    if !objects.is_sorted_by(|a, b| a.key < b.key) {
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        objects.dedup_by(|a, b| a.key == b.key);
    }
    Ok(objects)
}
