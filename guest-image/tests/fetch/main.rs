//! Fetching from a server on the loopback that misbehaves in every way we know.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use minik_image::manifest::{FORMAT, Manifest};
use minik_image::progress::{Lines, Quiet};
use minik_image::{
    CachedImage, FetchOptions, FileEntry, ImageError, LocalKey, Role, Source, TrustedKeys, fetch,
};
use server::{Fault, Server, SmallDisk};
use sha2::{Digest, Sha256};

/// A published image of a few hundred KiB, and a cache to fetch it into.
struct Case {
    folder: tempfile::TempDir,
    manifest: Manifest,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let site = folder.path().join("site");
        fs::create_dir(&site).expect("made");
        let mut manifest = Manifest {
            format: FORMAT,
            name: "test".into(),
            version: "1".into(),
            arch: std::env::consts::ARCH.into(),
            cmdline: vec!["quiet".into()],
            files: vec![],
        };
        let files = [
            ("vmlinux", Role::Vmlinux, 3_000),
            ("vmlinuz", Role::Vmlinuz, 2_000),
            ("initrd", Role::Initrd, 1_000),
            ("root.erofs", Role::Root, 400_000),
            ("docker.erofs", Role::Docker, 50_000),
        ];
        for (name, role, size) in files {
            let content: Vec<u8> = (0..size).map(|n: u32| (n * 7 % 251) as u8).collect();
            fs::write(site.join(name), &content).expect("written");
            manifest.files.push(FileEntry {
                name: name.into(),
                role,
                size: content.len() as u64,
                sha256: hex::encode(Sha256::digest(&content)),
                unpacked_from: None,
            });
        }
        let case = Self { folder, manifest };
        case.publish();
        case
    }

    /// Writes manifest and signature.
    fn publish(&self) {
        let text = serde_json::to_string(&self.manifest).expect("serializes");
        let key = LocalKey::open_or_create(&self.path("keys")).expect("a key");
        fs::write(self.path("site/manifest.json"), &text).expect("written");
        let signature = key.sign(text.as_bytes(), "test");
        fs::write(self.path("site/manifest.json.minisig"), signature).expect("written");
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    fn serve(&self, file: &str, fault: Fault) -> Server {
        Server::start(self.path("site"), file, fault)
    }

    fn options(&self) -> FetchOptions {
        FetchOptions {
            cache: self.path("cache"),
            keys: TrustedKeys::load(&self.path("keys"), None).expect("keys"),
            offline: false,
            with_docker: true,
            refresh: false,
        }
    }

    fn fetch(&self, address: &str) -> Result<CachedImage, ImageError> {
        fetch(&Source::parse(address).expect("an address"), &self.options(), &Quiet)
    }

    /// Everything in the cache is a complete good file, or bookkeeping.
    fn assert_nothing_half_made(&self) {
        for path in files_below(&self.path("cache")) {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(
                !name.contains(".part") && !name.contains(".new"),
                "{} is left",
                path.display()
            );
            if let Some(entry) = self.manifest.files.iter().find(|file| file.name == name) {
                let content = fs::read(&path).expect("readable");
                assert_eq!(hex::encode(Sha256::digest(content)), entry.sha256, "{name}");
            }
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_good_server_gives_a_verified_image_once() {
    let case = Case::new();
    let server = case.serve("", Fault::None);
    let image = case.fetch(&server.address()).expect("fetched");
    image.verify_fully().expect("good");
    assert!(image.boot_files().docker.is_some());
    let asked = server.requests().len();
    assert_eq!(asked, 7, "manifest, signature, five files: {:?}", server.requests());
    case.fetch(&server.address()).expect("from the cache");
    assert_eq!(server.requests().len(), asked, "the second time asks nobody");
    case.assert_nothing_half_made();
}

#[test]
fn a_connection_that_breaks_is_continued_where_it_broke() {
    let case = Case::new();
    let server = case.serve("root.erofs", Fault::BreakOnceAfter(100_000));
    case.fetch(&server.address()).expect("fetched in two parts");
    let root: Vec<String> =
        server.requests().into_iter().filter(|line| line.contains("root")).collect();
    assert_eq!(root.len(), 2, "{root:?}");
    let continued = &root[1];
    assert!(
        continued.contains("range: bytes=") && continued.contains("if-range: \"v1\""),
        "{continued}"
    );
    case.assert_nothing_half_made();
}

#[test]
fn a_break_that_stays_keeps_the_part_for_the_next_call() {
    let case = Case::new();
    let broken = case.serve("root.erofs", Fault::BreakAlwaysAfter(40_000));
    let error = case.fetch(&broken.address()).expect_err("breaks three times");
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    let part = files_below(&case.path("cache"))
        .into_iter()
        .find(|path| path.ends_with("root.erofs.part"))
        .expect("the part is kept");
    let have = fs::metadata(part).expect("there").len();
    assert!(have > 0, "{have}");

    let good = case.serve("", Fault::None);
    case.fetch(&format!("{},{}", broken.address(), good.address())).expect("the other mirror");
    let first = broken.requests().into_iter().filter(|line| line.contains("root")).nth(3);
    assert!(first.as_ref().is_some_and(|l| l.contains(&format!("bytes={have}-"))), "{first:?}");
    let asked = good.requests();
    let root = asked.iter().find(|line| line.contains("root")).expect("asked for the rest");
    assert!(root.contains("range: bytes="), "{root}");
    assert!(!root.contains("if-range"), "another server's tag means nothing here: {root}");
    case.assert_nothing_half_made();
}

#[test]
fn a_server_without_ranges_starts_again() {
    let case = Case::new();
    let server = case.serve("root.erofs", Fault::NoRangesAndBreakOnceAfter(100_000));
    case.fetch(&server.address()).expect("fetched");
    case.assert_nothing_half_made();
}

#[test]
fn a_changed_byte_is_named_with_both_digests_and_not_kept() {
    let case = Case::new();
    let server = case.serve("root.erofs", Fault::FlipByte(1234));
    let error = case.fetch(&server.address()).expect_err("bad");
    let ImageError::Digest { file, expected, actual, .. } = &error else { panic!("{error}") };
    assert_eq!(file, "root.erofs");
    assert_eq!(expected, &case.manifest.files[3].sha256);
    assert_ne!(expected, actual);
    case.assert_nothing_half_made();
}

#[test]
fn a_truncated_and_a_grown_file_are_refused() {
    for (fault, wanted) in [(Fault::Truncate(1000), 399_000), (Fault::Grow(10), 400_010)] {
        let case = Case::new();
        let server = case.serve("root.erofs", fault);
        let error = case.fetch(&server.address()).expect_err("wrong length");
        let ImageError::Size { file, expected, actual, .. } = &error else { panic!("{error}") };
        assert_eq!((file.as_str(), *expected), ("root.erofs", 400_000));
        assert_eq!(*actual, wanted);
        case.assert_nothing_half_made();
    }
}

#[test]
fn a_missing_file_is_404_and_the_next_mirror_helps() {
    let case = Case::new();
    let bad = case.serve("initrd", Fault::NotFound);
    let error = case.fetch(&bad.address()).expect_err("missing").to_string();
    assert!(error.contains("/initrd answered 404 Not Found"), "{error}");

    let good = case.serve("", Fault::None);
    case.fetch(&format!("{} {}", bad.address(), good.address())).expect("from the second");
    case.assert_nothing_half_made();
}

#[test]
fn a_dead_mirror_is_passed_over_and_all_dead_ones_are_listed() {
    let case = Case::new();
    // Bound and dropped: nobody listens there.
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}/", listener.local_addr().expect("an address"))
    };
    let error = case.fetch(&format!("{dead},{dead}x/")).expect_err("all dead");
    let ImageError::EveryMirror { attempts, .. } = &error else { panic!("{error}") };
    assert!(attempts.iter().all(|line| line.contains("onnection refused")), "{attempts:?}");

    let good = case.serve("", Fault::None);
    case.fetch(&format!("{dead},{}", good.address())).expect("from the live one");
}

#[test]
fn a_manifest_changed_or_signed_by_another_is_refused_and_not_stored() {
    let case = Case::new();
    let server = case.serve("manifest.json", Fault::FlipByte(20));
    let error = case.fetch(&server.address()).expect_err("changed");
    assert!(matches!(error, ImageError::Signature { .. }), "{error}");

    let good = case.serve("", Fault::None);
    let mut options = case.options();
    options.keys = TrustedKeys::default();
    let source = Source::parse(&good.address()).expect("an address");
    let error = fetch(&source, &options, &Quiet).expect_err("unknown key").to_string();
    assert!(error.contains("not among the 0 trusted"), "{error}");
    assert_eq!(files_below(&case.path("cache")), Vec::<PathBuf>::new());
}

#[test]
fn offline_opens_no_connection() {
    let case = Case::new();
    let server = case.serve("", Fault::None);
    let source = Source::parse(&server.address()).expect("an address");
    let mut options = case.options();
    options.offline = true;
    let error = fetch(&source, &options, &Quiet).expect_err("nothing here");
    assert!(matches!(error, ImageError::Offline { .. }), "{error}");
    assert_eq!(server.requests(), Vec::<String>::new());

    case.fetch(&server.address()).expect("online");
    drop(server);
    fetch(&source, &options, &Quiet).expect("offline from the cache");
}

#[test]
fn a_file_damaged_in_the_cache_is_found_and_fetched_again() {
    let case = Case::new();
    let server = case.serve("", Fault::None);
    let image = case.fetch(&server.address()).expect("fetched");
    let path = image.boot_files().root;
    let mut content = fs::read(&path).expect("readable");
    content[77] ^= 1;
    fs::write(&path, content).expect("damaged");
    let error = image.verify().expect_err("seen");
    assert!(matches!(error, ImageError::Digest { .. }), "{error}");

    let said = Mutex::new(Vec::new());
    let lines = Lines::new(|line: &str| said.lock().expect("whole").push(line.to_owned()));
    let source = Source::parse(&server.address()).expect("an address");
    fetch(&source, &case.options(), &lines).expect("repaired").verify_fully().expect("good");
    let said = said.into_inner().expect("whole");
    assert!(said[0].starts_with("fetching again: root.erofs from "), "{said:?}");
}

#[test]
fn two_at_once_download_once() {
    let case = Case::new();
    let server = case.serve("root.erofs", Fault::Slow);
    let address = server.address();
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| case.fetch(&address).map(|_| ())));
        for one in both {
            one.join().expect("no panic").expect("fetched");
        }
    });
    let roots = server.requests().iter().filter(|line| line.contains("root")).count();
    assert_eq!(roots, 1, "{:?}", server.requests());
    case.assert_nothing_half_made();
}

#[test]
fn a_folder_of_this_machine_is_a_source_and_a_rebuild_counts() {
    let mut case = Case::new();
    let site = case.path("site");
    let address = site.to_str().expect("text").to_owned();
    let first = case.fetch(&address).expect("copied");
    let content = b"rebuilt";
    fs::write(site.join("initrd"), content).expect("written");
    case.manifest.files[2].size = content.len() as u64;
    case.manifest.files[2].sha256 = hex::encode(Sha256::digest(content));
    case.publish();
    let second = case.fetch(&address).expect("copied again");
    assert_ne!(first.digest(), second.digest());
    assert_eq!(fs::read(second.boot_files().initrd).expect("there"), content);
    first.verify_fully().expect("machines of the first image still find it");
}

#[test]
fn the_docker_layer_is_fetched_when_it_is_wanted() {
    let case = Case::new();
    let server = case.serve("", Fault::None);
    let source = Source::parse(&server.address()).expect("an address");
    let mut options = case.options();
    options.with_docker = false;
    let image = fetch(&source, &options, &Quiet).expect("without");
    assert_eq!(image.boot_files().docker, None);
    assert!(case.fetch(&server.address()).expect("with").boot_files().docker.is_some());
}

/// Mounting a small tmpfs needs root, as whom the whole suite runs.
#[test]
fn a_full_disk_is_said_before_writing() {
    let case = Case::new();
    let server = case.serve("", Fault::None);
    let disk = SmallDisk::mount(&case.path("disk"), "200k");
    let mut options = case.options();
    options.cache = disk.path.join("cache");
    let source = Source::parse(&server.address()).expect("an address");
    let error = fetch(&source, &options, &Quiet).expect_err("full");
    let ImageError::DiskFull { file, needed, free, .. } = &error else { panic!("{error}") };
    assert_eq!((file.as_str(), *needed), ("the image", 456_000));
    assert!(*free < 200 * 1024);
}

#[test]
fn a_disk_that_fills_up_meanwhile_is_said_and_left_clean() {
    let case = Case::new();
    let disk = SmallDisk::mount(&case.path("disk"), "700k");
    let rest = disk.path.join("somebody-elses");
    let server = Server::start_with(case.path("site"), "", Fault::None, move |path| {
        if path == "/root.erofs" {
            fs::write(&rest, vec![1; 500 * 1024]).expect("fits");
        }
    });
    let mut options = case.options();
    options.cache = disk.path.join("cache");
    let source = Source::parse(&server.address()).expect("an address");
    let error = fetch(&source, &options, &Quiet).expect_err("full");
    let ImageError::DiskFull { needed, .. } = &error else { panic!("{error}") };
    assert!(*needed > 0, "{error}");
    let left = files_below(&options.cache);
    assert!(!left.iter().any(|path| path.ends_with("root.erofs")), "{left:?}");
}
