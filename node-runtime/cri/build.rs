//! Compiles the CRI v1 protocol (`proto/api.proto`, from Kubernetes 1.36) without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/api.proto");
    let files = protox::compile(["api.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .disable_comments(["."])
        .compile_fds(files)?;
    Ok(())
}
