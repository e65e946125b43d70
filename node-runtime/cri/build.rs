//! Compiles the CRI v1 protocol (`proto/api.proto`, from Kubernetes 1.36) without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/api.proto");
    let mut files = protox::compile(["api.proto"], ["proto"])?;
    for file in &mut files.file {
        // The comments, which are not written for rustdoc.
        file.source_code_info = None;
    }
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
