//! Bundles `minik-node`: `MINIK_BUNDLE=FOLDER` names where `minik-node.zst` and `minik-node.sha256` are
//! (the packed program, and the digest of the unpacked one). Without them nothing is bundled.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=MINIK_BUNDLE");
    println!("cargo:rustc-check-cfg=cfg(bundled_node)");
    let Some(folder) = env::var_os("MINIK_BUNDLE") else { return };
    let packed = Path::new(&folder).join("minik-node.zst");
    let digest = Path::new(&folder).join("minik-node.sha256");
    println!("cargo:rerun-if-changed={}", digest.display());
    let Ok(text) = fs::read_to_string(&digest) else { return };
    let text = text.trim();
    assert!(text.len() == 64 && packed.is_file(), "{} has no bundle", folder.display());
    println!("cargo:rustc-cfg=bundled_node");
    println!("cargo:rustc-env=MINIK_BUNDLE_PACKED={}", packed.display());
    println!("cargo:rustc-env=MINIK_BUNDLE_DIGEST={text}");
}
