//! minik-image-pack: the last step of `guest-image/build`. Unpacks the kernel, writes the manifest and signs it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use minik_image::manifest::{FORMAT, MANIFEST_FILE, SIGNATURE_SUFFIX};
use minik_image::{FileEntry, LocalKey, Manifest, Role, kernel};

const USAGE: &str = "usage: minik-image-pack FOLDER KEY-FOLDER VERSION";

/// Which file is what.
const FILES: [(&str, Role, Option<&str>); 5] = [
    ("vmlinux", Role::Vmlinux, Some("vmlinuz")),
    ("vmlinuz", Role::Vmlinuz, None),
    ("initrd", Role::Initrd, None),
    ("root.erofs", Role::Root, None),
    ("docker.erofs", Role::Docker, None),
];

/// What this kernel and this root want on any hypervisor.
const CMDLINE: [&str; 9] = [
    "quiet",
    "loglevel=4",
    // A guest that cannot go on stops and is noticed.
    "panic=-1",
    "random.trust_cpu=on",
    "no_timer_check",
    "i8042.noaux",
    // No profiles are shipped for the other security modules; they would only be asked at every step.
    "lsm=landlock,lockdown,yama",
    // Network namespaces of pods come and go: do not wait for the slow grace period.
    "rcupdate.rcu_expedited=1",
    "audit=0",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [folder, keys, version] => pack(Path::new(folder), Path::new(keys), version),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(table) => {
            drop(std::io::stdout().write_all(table.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(std::io::stderr(), "minik-image-pack: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Completes the image in `folder`; the table of its files.
fn pack(folder: &Path, keys: &Path, version: &str) -> Result<String, Box<dyn std::error::Error>> {
    kernel::unpack(&folder.join("vmlinuz"), &folder.join("vmlinux"))?;
    let files = FILES
        .iter()
        .map(|(name, role, from)| entry(&folder.join(name), name, *role, *from))
        .collect::<Result<Vec<_>, _>>()?;
    let manifest = Manifest {
        format: FORMAT,
        name: "minik".into(),
        version: version.into(),
        arch: "x86_64".into(),
        cmdline: CMDLINE.map(str::to_owned).to_vec(),
        files,
    };
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    let key = LocalKey::open_or_create(keys)?;
    let signature = key.sign(text.as_bytes(), &format!("minik image {version}"));
    fs::write(folder.join(MANIFEST_FILE), &text)?;
    fs::write(folder.join(format!("{MANIFEST_FILE}{SIGNATURE_SUFFIX}")), signature)?;
    Ok(table(&manifest))
}

fn entry(
    path: &Path,
    name: &str,
    role: Role,
    unpacked_from: Option<&str>,
) -> Result<FileEntry, Box<dyn std::error::Error>> {
    let (size, sha256) = minik_image::manifest::measure(path)?;
    let unpacked_from = unpacked_from.map(str::to_owned);
    Ok(FileEntry { name: name.into(), role, size, sha256, unpacked_from })
}

fn table(manifest: &Manifest) -> String {
    let mut text = String::new();
    for file in &manifest.files {
        let note =
            file.unpacked_from.as_ref().map_or(String::new(), |from| format!("  (from {from})"));
        text.push_str(&format!("{:>11}  {}  {}{note}\n", file.size, &file.sha256[..16], file.name));
    }
    let (without, with) = (manifest.download_size(false), manifest.download_size(true));
    text.push_str(&format!("{without:>11}  to download; {with} with the Docker layer\n"));
    text
}
