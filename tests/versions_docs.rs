//! The page about Milvus versions is what the table of gates in the code says.

use milvus_backup_operator::milvus::gates;

#[test]
fn the_page_about_versions_is_what_the_code_does() {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/milvus-versions.md");
    let generated = gates::documentation();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "docs/milvus-versions.md is out of date: run this test with UPDATE_DOCS=1");
}
