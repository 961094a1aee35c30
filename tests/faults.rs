//! Whole backups and whole restores while the object store misbehaves: no row is lost, none comes twice, and nothing is left
//! behind. What single requests do is tested beside the stores (`tests/storage_s3s.rs`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a seed is to be seen")]

mod fake_milvus;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fake_milvus::s3::{ACCESS_KEY, LATER_ACCESS_KEY, LATER_SECRET_KEY};
use fake_milvus::site::{BACKUPS, SOURCE, Site, TARGET, done, fill, refused, same, write_keys};
use fake_milvus::weather::{Asked, Mishap};
use fake_milvus::world::Row;
use futures::FutureExt;
use milvus_backup_operator::engine::task::{Report, Work};
use milvus_backup_operator::exit::Class;
use milvus_backup_operator::manifest::objects::decode_objects;
use milvus_backup_operator::storage::memory::MemoryService;
use milvus_backup_operator::storage::{Store, list_all};
use rstest::rstest;

const VERSION: (u64, u64, u64) = (2, 5, 27);
/// So that a failure can be repeated; another one is tried with `FAULTS_SEED`.
const SEED: u64 = 20_260_401;
/// So often one and the same request meets a mishap; it is sent eight times.
const MISHAPS: usize = 3;

fn seed() -> u64 {
    let seed = std::env::var("FAULTS_SEED").ok().map_or(SEED, |text| text.parse().unwrap());
    println!("FAULTS_SEED={seed}");
    seed
}

type Rows = BTreeMap<(String, i64, u64), BTreeMap<String, Vec<u8>>>;

/// A site with the usual data, and the rows it has.
async fn filled(site: Site) -> (Site, [Rows; 2]) {
    fill(&site.source).await;
    let rows = [site.source.rows("shop", "docs").await, site.source.rows("default", "plain").await];
    (site, rows)
}

async fn plain_site() -> Site {
    Site::new(VERSION, VERSION).await
}

async fn keys_in(site: &Site, bucket: &str, prefix: &str) -> BTreeSet<String> {
    let listed = list_all(&site.buckets.bucket(bucket), prefix).await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

/// No row lost, none twice, as many jobs as without faults, nothing in the buckets that does not belong there.
async fn is_as_it_should_be(site: &Site, [docs, plain]: &[Rows; 2]) {
    // `rows` fails where one is there twice.
    same(&site.target.rows("shop", "docs").await, docs);
    same(&site.target.rows("default", "plain").await, plain);
    assert_eq!(site.target.calls("jobs/import/create").await, 6, "imports");
    nothing_is_open(site).await;
    let records = site.buckets.bucket(BACKUPS).get("prod/nightly/operator/objects.jsonl.zst").await.unwrap();
    let recorded: BTreeSet<String> =
        decode_objects(records, 1 << 20).unwrap().into_iter().map(|one| format!("prod/nightly/{}", one.key)).collect();
    assert_eq!(keys_in(site, BACKUPS, "prod/nightly/binlogs/").await, recorded, "copies");
    let ours: BTreeSet<String> = keys_in(site, BACKUPS, "").await.difference(&recorded).cloned().collect();
    let meta = ["backup", "collection", "partition", "segment", "full"].map(|level| format!("meta/{level}_meta.json"));
    let operator = ["lock.json", "manifest.json", "objects.jsonl.zst", "restores/restore_1/ledger.json"];
    let operator = operator.map(|file| format!("operator/{file}"));
    let wanted = meta.into_iter().chain(operator).map(|path| format!("prod/nightly/{path}")).collect();
    assert_eq!(ours, wanted, "other objects");
}

/// No multipart write, no staged copy.
async fn nothing_is_open(site: &Site) {
    for bucket in [SOURCE, TARGET, BACKUPS] {
        assert_eq!(site.buckets.bucket(bucket).uploads("").await.unwrap(), [], "{bucket}");
    }
    assert_eq!(keys_in(site, TARGET, "milvus-backup-staging").await, BTreeSet::new(), "staged copies");
}

/// About one try in four meets it, and of one request no more than the first few.
fn unlucky(asked: &Asked, mishap: Mishap) -> Mishap {
    if asked.nth <= MISHAPS && asked.one_in(4) { mishap } else { Mishap::Pass }
}

#[rstest]
#[case::refuses_with_503_in_bursts(|asked: &Asked| match asked.total % 30 {
    0..=2 => Mishap::Answer(503, "SlowDown"),
    _ => Mishap::Pass,
})]
#[case::answers_one_request_in_four_with_500(|asked: &Asked| unlucky(asked, Mishap::Answer(500, "InternalError")))]
#[case::breaks_connections_before_a_request_arrives(|asked: &Asked| unlucky(asked, Mishap::Reset))]
#[case::breaks_connections_after_a_request_was_carried_out(|asked: &Asked| unlucky(asked, Mishap::Lost))]
#[case::sends_its_answers_slowly(|_: &Asked| Mishap::Slow)]
#[case::breaks_off_in_the_middle_of_answers(|asked: &Asked| unlucky(asked, Mishap::Cut))]
#[tokio::test]
async fn a_backup_and_a_restore_are_whole_although_the_store(#[case] plan: fn(&Asked) -> Mishap) {
    let (site, rows) = filled(plain_site().await).await;
    site.weather.turn(seed(), plan);
    done(&site.backup().await);
    done(&site.restore().await);
    is_as_it_should_be(&site, &rows).await;
    let asked = site.weather.asked();
    let met = asked.iter().filter(|asked| !matches!(plan(asked), Mishap::Pass)).count();
    assert!(met > 10, "only {met} of {} requests met anything", asked.len());
}

/// Files larger than a part of a stream, so that they are written in parts, both ways.
#[rstest]
#[case::refuses_parts_with_503(|asked: &Asked| unlucky(asked, Mishap::Answer(503, "SlowDown")))]
#[case::breaks_connections_after_a_part_was_written(|asked: &Asked| unlucky(asked, Mishap::Lost))]
#[case::breaks_off_in_the_middle_of_what_is_read(|asked: &Asked| unlucky(asked, Mishap::Cut))]
#[tokio::test]
async fn large_files_between_two_services_are_whole_although_the_store(#[case] plan: fn(&Asked) -> Mishap) {
    let site = plain_site().await.with_backups_elsewhere().await;
    fill(&site.source).await;
    {
        let mut world = site.source.world().await;
        let docs = world.find_mut("shop", "docs").unwrap();
        let partition = docs.partition("_default").unwrap();
        for pk in 500..510_i64 {
            // Nothing that packs.
            let mut noise = vec![pk as u8; 1 << 20];
            noise.iter_mut().fold(pk.cast_unsigned(), |state, byte| {
                let next = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (next >> 56) as u8;
                next
            });
            let fields = [("vec", noise), ("body", b"large".to_vec())].map(|(name, value)| (name.to_owned(), value));
            docs.growing.push((
                partition,
                Row { pk, ts: (1_800_000_001_000 + pk.cast_unsigned()) << 18, fields: fields.into() },
            ));
        }
        world.flush("shop", "docs").await;
    }
    let rows = [site.source.rows("shop", "docs").await, site.source.rows("default", "plain").await];
    site.weather.turn(seed(), plan);
    done(&site.backup().await);
    done(&site.restore().await);
    let parts = site.weather.asked().iter().filter(|asked| asked.target.contains("partNumber=")).count();
    assert!(parts >= 4, "{parts} parts were written");
    is_as_it_should_be(&site, &rows).await;
}

/// Requests of a kind: how many, and how often the most frequent of them.
fn sent(site: &Site, kind: impl Fn(&Asked) -> bool) -> (usize, usize) {
    let mut times: BTreeMap<(String, String), usize> = BTreeMap::new();
    for asked in site.weather.asked().into_iter().filter(kind) {
        *times.entry((asked.method, asked.target)).or_default() += 1;
    }
    (times.values().sum(), times.values().copied().max().unwrap_or_default())
}

fn writes(asked: &Asked, place: &str) -> bool {
    asked.method == "PUT" && asked.target.contains(place)
}

fn failed_for_good(report: &Report, words: &str) {
    assert_eq!(report.class, Some(Class::Configuration), "{}", report.message);
    refused(report, &report.reason, words);
}

#[rstest]
#[case::the_clocks_are_too_far_apart(403, "RequestTimeTooSkewed", "set them right")]
#[case::the_keys_may_not_do_it(403, "AccessDenied", "check the credentials and their permissions")]
#[tokio::test]
async fn nothing_is_tried_twice_where(#[case] status: u16, #[case] code: &'static str, #[case] words: &str) {
    let (site, rows) = filled(plain_site().await).await;
    // From the very first request on.
    site.weather.turn(seed(), move |_| Mishap::Answer(status, code));
    failed_for_good(&site.backup().await, words);
    assert_eq!(site.weather.asked().len(), 1);
    // In the middle of the copies, ...
    let refuse = move |place: &'static str| {
        move |asked: &Asked| if writes(asked, place) { Mishap::Answer(status, code) } else { Mishap::Pass }
    };
    site.weather.turn(seed(), refuse("/binlogs/"));
    failed_for_good(&site.backup().await, words);
    // A copy that the service may not make is tried as a stream: to its target that is another write.
    let copies_and_streams = if code == "AccessDenied" { 2 } else { 1 };
    let (sum, most) = sent(&site, |asked| writes(asked, "/binlogs/"));
    assert!(sum > 0 && most <= copies_and_streams, "{sum} refused, one of them {most} times");
    nothing_is_open(&site).await;
    assert!(!keys_in(&site, BACKUPS, "").await.contains("prod/nightly/operator/manifest.json"));
    // ... and when all is right again, the next attempt goes on.
    site.weather.turn(seed(), |_| Mishap::Pass);
    done(&site.run(Work::Backup(Box::new(site.backup_task())), 2).await);
    site.weather.turn(seed(), refuse("milvus-backup-staging"));
    failed_for_good(&site.restore().await, words);
    let (sum, most) = sent(&site, |asked| writes(asked, "milvus-backup-staging"));
    assert!(sum > 0 && most <= copies_and_streams, "{sum} refused, one of them {most} times");
    assert_eq!(site.target.calls("jobs/import/create").await, 0);
    nothing_is_open(&site).await;
    site.weather.turn(seed(), |_| Mishap::Pass);
    done(&site.run(Work::Restore(Box::new(site.restore_task())), 2).await);
    is_as_it_should_be(&site, &rows).await;
}

/// Refuses the first keys after so many requests with this code.
fn expired(after: usize, code: &'static str) -> impl Fn(&Asked) -> Mishap + Send + Sync + 'static {
    let over = AtomicBool::new(false);
    move |asked| {
        if asked.total > after {
            over.store(true, Ordering::Relaxed);
        }
        match over.load(Ordering::Relaxed) && asked.signed_by == ACCESS_KEY {
            true => Mishap::Answer(400, code),
            false => Mishap::Pass,
        }
    }
}

#[rstest]
#[case::while_it_looks_around(5)]
#[case::while_it_copies(40)]
#[tokio::test]
async fn a_run_goes_on_with_new_keys_when_the_old_ones_expire(#[case] after: usize) {
    let (site, rows) = filled(plain_site().await).await;
    for run in 0..2 {
        site.write_keys(ACCESS_KEY, fake_milvus::s3::SECRET_KEY);
        let (keys, refuse) = (site.keys(), expired(after, "ExpiredToken"));
        site.weather.turn(seed(), move |asked| {
            let mishap = refuse(asked);
            if matches!(mishap, Mishap::Answer(..)) {
                // The Secret is renewed just before.
                write_keys(&keys, LATER_ACCESS_KEY, LATER_SECRET_KEY);
            }
            mishap
        });
        done(&if run == 0 { site.backup().await } else { site.restore().await });
        let asked = site.weather.asked();
        assert!(asked.iter().any(|asked| asked.signed_by == ACCESS_KEY));
        assert!(asked.last().unwrap().signed_by == LATER_ACCESS_KEY);
    }
    is_as_it_should_be(&site, &rows).await;
}

#[tokio::test]
async fn a_run_whose_keys_expire_for_good_ends_at_once_and_the_next_goes_on_where_it_was() {
    let (site, rows) = filled(plain_site().await).await;
    site.weather.turn(seed(), expired(40, "ExpiredToken"));
    let report = site.backup().await;
    failed_for_good(&report, "ExpiredToken");
    // Those under way when the keys expired; a copy then as a stream, which is read first.
    let (sum, most) = sent(&site, |asked| asked.total > 40);
    assert!((1..=64).contains(&sum) && most == 1, "{sum} refused, one of them {most} times");
    nothing_is_open(&site).await;
    let copied = keys_in(&site, BACKUPS, "prod/nightly/binlogs/").await;
    site.write_keys(LATER_ACCESS_KEY, LATER_SECRET_KEY);
    site.weather.turn(seed(), expired(0, "ExpiredToken"));
    done(&site.run(Work::Backup(Box::new(site.backup_task())), 2).await);
    let again = site.weather.asked().into_iter().filter(|asked| asked.method == "PUT");
    let again: BTreeSet<String> =
        again.filter_map(|asked| Some(asked.target.split('?').next()?[1..].to_owned())).collect();
    let twice: Vec<&String> = copied.iter().filter(|key| again.contains(&format!("{BACKUPS}/{key}"))).collect();
    assert!(!copied.is_empty() && twice.is_empty(), "of {} copies again: {twice:?}", copied.len());
    done(&site.restore().await);
    is_as_it_should_be(&site, &rows).await;
}

/// Stores that encrypt with keys of their own: tags of the shape of a digest that are none, another one for each copy.
#[rstest]
#[case::by_the_service(false)]
#[case::through_the_engine(true)]
#[tokio::test]
async fn copies_whose_tags_are_no_digests_are_whole_and_an_attempt_goes_on_with_them(#[case] elsewhere: bool) {
    let buckets = MemoryService::new("site").with_opaque_tags();
    let mut site = Site::on(buckets, VERSION, VERSION).await;
    if elsewhere {
        site = site.with_backups_elsewhere().await;
    }
    let (site, rows) = filled(site).await;
    // The first attempt ends before it commits.
    site.weather.turn(
        seed(),
        |asked| {
            if writes(asked, "/meta/") { Mishap::Answer(403, "AccessDenied") } else { Mishap::Pass }
        },
    );
    failed_for_good(&site.backup().await, "check the credentials");
    let copied = keys_in(&site, BACKUPS, "prod/nightly/binlogs/").await;
    site.weather.turn(seed(), |_| Mishap::Pass);
    done(&site.run(Work::Backup(Box::new(site.backup_task())), 2).await);
    let (again, _) = sent(&site, |asked| writes(asked, "/binlogs/"));
    assert!(!copied.is_empty() && again == 0, "{again} of {} objects were copied again", copied.len());
    done(&site.restore().await);
    is_as_it_should_be(&site, &rows).await;
}

#[tokio::test]
async fn a_copy_with_other_content_is_found_although_tags_are_no_digests() {
    let buckets = MemoryService::new("site").with_opaque_tags();
    let (site, _) = filled(Site::on(buckets, VERSION, VERSION).await).await;
    let (store, spoiled) = (site.buckets.bucket(BACKUPS), Arc::new(AtomicBool::new(false)));
    let once = spoiled.clone();
    // When the copies are listed to be verified, the first of them is another object of the same size.
    site.weather.turn(seed(), move |asked| {
        let copies = asked.target.contains("nightly%2Fbinlogs") && asked.nth > 1;
        if copies && !once.swap(true, Ordering::Relaxed) {
            let spoil = async {
                let listed = list_all(&store, "prod/nightly/binlogs/").await.unwrap();
                let smallest = listed.into_iter().min_by_key(|object| object.size).unwrap();
                store.put(&smallest.key, vec![7; smallest.size as usize].into()).await.unwrap();
            };
            // In memory nothing is waited for.
            spoil.now_or_never().unwrap();
        }
        Mishap::Pass
    });
    refused(&site.backup().await, "Damaged", "are not what was listed in Milvus' bucket");
    assert!(spoiled.load(Ordering::Relaxed));
}
