//! What is made for the program before it is compiled: `proto/` as Rust, without a protoc binary, and the pages of Swagger UI,
//! compressed.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

fn main() -> Result<(), Box<dyn Error>> {
    messages()?;
    pages()
}

/// Messages and client stubs.
fn messages() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["milvus.proto", "msg.proto", "index.proto", "etcd.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        // The call named Connect would collide with the constructor of that name.
        .build_transport(false)
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The files of Swagger UI that `compat::docs` sends: a quarter of their size, and sent as they are.
fn pages() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for (file, bytes) in SwaggerUi::static_files() {
        let name = match file {
            SwaggerUiStaticFile::Css => "swagger-ui.css.gz",
            SwaggerUiStaticFile::Js => "swagger-ui-bundle.js.gz",
            SwaggerUiStaticFile::Favicon32 => "favicon-32x32.png.gz",
            _ => continue,
        };
        let mut packed = GzEncoder::new(File::create(out.join(name))?, Compression::best());
        packed.write_all(bytes)?;
        packed.finish()?;
    }
    Ok(())
}
