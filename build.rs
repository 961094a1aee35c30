//! Turns `proto/` into Rust: messages and client stubs, without a protoc binary.

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
