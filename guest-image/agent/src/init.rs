//! The first process, in the initramfs: finds the disks, puts the root together, writes the identity, starts systemd.
//!
//! ```text
//! modules → root (erofs, read-only) ─┐
//!           data (ext4, made once) ──┴→ overlay → /var → identity → systemd
//! ```

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_bind, mount_move, unmount};
use rustix::system::RebootCommand;

use crate::disks::{self, Content, Disk};
use crate::error::{Error, on_file, on_system};
use crate::saved::{self, Saved};
use crate::seed::Documents;
use crate::{clock, identity, say, tree};

const LOWER: &str = "/lower";
const DATA: &str = "/data";
const NEW_ROOT: &str = "/newroot";
const SEED: &str = "/seed";

/// Runs until systemd takes over; comes back only with the reason why it could not.
pub(crate) fn run() -> Result<Infallible, Error> {
    say("minik: the kernel is up");
    for (kind, on) in
        [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")]
    {
        mount_new(kind, kind, on, MountFlags::NOSUID, "")?;
    }
    load_modules("boot")?;
    let found = disks::all();
    let root = disks::by_serial(&found, disks::ROOT)?;
    mount_new("erofs", &root.node, LOWER, MountFlags::RDONLY | MountFlags::NOATIME, "")?;
    mount_data(&found)?;
    mount_overlay()?;
    mount_var()?;
    if let Some(saved) = settle_seed(&found)? {
        let seed = saved.documents.parse()?;
        clock::not_before(seed.time_unix_ms)?;
        identity::write(Path::new(NEW_ROOT), &seed)?;
        say(&format!("minik: this guest is {}", seed.hostname));
    } else {
        say("minik: no seed, waiting for an identity");
    }
    Err(switch_root())
}

/// Nothing more can be done: the reason is on the console, and a stopped machine says more than a hanging one.
pub(crate) fn give_up() {
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
}

fn mount_new(
    kind: &str,
    what: impl AsRef<Path>,
    on: &str,
    flags: MountFlags,
    options: &str,
) -> Result<(), Error> {
    fs::create_dir_all(on).map_err(on_file("make", on))?;
    let what = what.as_ref();
    let options = CString::new(options).unwrap_or_default();
    mount(what, on, kind, flags, options.as_c_str()).map_err(|errno| Error::Mount {
        what: format!("{kind} {}", what.display()),
        on: on.into(),
        source: errno.into(),
    })
}

/// Loads the modules that the file `list` names, one per line, in its order.
fn load_modules(list: &str) -> Result<(), Error> {
    let folder = Path::new("/modules");
    let list = folder.join(list);
    let names = fs::read_to_string(&list).map_err(on_file("read", list))?;
    for name in names.lines().filter(|line| !line.is_empty()) {
        let path = folder.join(name);
        let file = File::open(&path).map_err(on_file("open", &path))?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(Error::Module { path, source: errno.into() }),
        }
    }
    Ok(())
}

/// Mounts the writable disk and makes its file system the first time. Without one, everything is kept in memory only.
fn mount_data(found: &[Disk]) -> Result<(), Error> {
    let Ok(disk) = disks::by_serial(found, disks::DATA) else {
        say("minik: no data disk, this boot forgets everything");
        return mount_new("tmpfs", "data", DATA, MountFlags::NOATIME, "");
    };
    match disks::content(&disk.node) {
        Content::Ext4 => {}
        Content::Unknown => make_file_system(&disk)?,
        other => {
            return Err(Error::SeedContent(format!(
                "the data disk {} holds {other:?} and is not overwritten",
                disk.node.display()
            )));
        }
    }
    let grown = disks::has_room_to_grow(&disk);
    // The inode tables need no zeroing in the background: their checksums tell used from unused.
    mount_new("ext4", &disk.node, DATA, MountFlags::NOATIME, "noinit_itable")?;
    if grown {
        say("minik: the data disk has grown, its file system follows");
        run_from_lower("usr/sbin/resize2fs", &[&disk.node.display().to_string()])?;
    }
    Ok(())
}

fn make_file_system(disk: &Disk) -> Result<(), Error> {
    let lazily = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
    let node = disk.node.display().to_string();
    run_from_lower(
        "usr/sbin/mkfs.ext4",
        &["-q", "-F", "-m", "0", "-L", disks::DATA, "-E", lazily, &node],
    )
}

/// Runs a program of the root image with the image's own loader and libraries, as the root is not in place yet.
fn run_from_lower(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let lower = Path::new(LOWER);
    let loader = lower.join("usr/lib64/ld-linux-x86-64.so.2");
    let output = Command::new(&loader)
        .arg("--library-path")
        .arg(lower.join("usr/lib/x86_64-linux-gnu"))
        .arg(lower.join(program))
        .args(arguments)
        .env("MKE2FS_CONFIG", lower.join("etc/mke2fs.conf"))
        .output()
        .map_err(on_file("run", loader))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Program { program: program.into(), said })
}

fn mount_overlay() -> Result<(), Error> {
    let data = Path::new(DATA);
    for folder in ["overlay/upper", "overlay/work"] {
        let path = data.join(folder);
        fs::create_dir_all(&path).map_err(on_file("make", path))?;
    }
    let options =
        format!("lowerdir={LOWER},upperdir={DATA}/overlay/upper,workdir={DATA}/overlay/work");
    mount_new("overlay", "minik", NEW_ROOT, MountFlags::NOATIME, &options)
}

/// Puts /var on the data disk itself: an overlay cannot hold the layers of another overlay, and what is written much
/// should not pass through two file systems. The first time it is copied from the image, where it is nearly empty.
fn mount_var() -> Result<(), Error> {
    let var = Path::new(DATA).join("var");
    if !var.exists() {
        let fresh = Path::new(DATA).join("var.new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(on_file("remove", &fresh))?;
        }
        tree::copy(&Path::new(LOWER).join("var"), &fresh)?;
        fs::rename(&fresh, &var).map_err(on_file("make", &var))?;
    }
    let to = Path::new(NEW_ROOT).join("var");
    mount_bind(&var, &to).map_err(|errno| Error::Mount {
        what: var.display().to_string(),
        on: to,
        source: errno.into(),
    })
}

/// Reads the seed disk and the kept seed, decides which counts and keeps it.
fn settle_seed(found: &[Disk]) -> Result<Option<Saved>, Error> {
    let disk = match disks::seed(found) {
        None => None,
        Some((disk, content)) => {
            let is_iso = matches!(content, Content::Iso(_));
            let (kind, modules) = if is_iso { ("iso9660", "iso") } else { ("vfat", "fat") };
            load_modules(modules)?;
            mount_new(kind, &disk.node, SEED, MountFlags::RDONLY, "")?;
            let documents = Documents::read(Path::new(SEED));
            unmount(SEED, rustix::mount::UnmountFlags::empty())
                .map_err(on_system("unmount the seed"))?;
            Some(documents?)
        }
    };
    let path = PathBuf::from(NEW_ROOT).join(saved::PATH.trim_start_matches('/'));
    let kept = saved::read(&path)?;
    let chosen = saved::choose(disk, kept.clone())?;
    if let Some(chosen) = &chosen
        && kept.as_ref() != Some(chosen)
    {
        saved::write(&path, chosen)?;
    }
    Ok(chosen)
}

/// Makes the new root the root and becomes systemd. The initramfs is emptied first: its memory is the guest's.
fn switch_root() -> Error {
    let switched = (|| -> Result<(), Error> {
        // The journal may go to disk at once: the root is writable from the first moment.
        let journal = "/run/systemd/journal";
        fs::create_dir_all(journal).map_err(on_file("make", journal))?;
        fs::write("/run/systemd/journal/flushed", "").map_err(on_file("write", journal))?;
        drop(fs::remove_dir_all("/modules"));
        drop(fs::remove_file("/init"));
        for moved in ["dev", "proc", "sys", "run"] {
            let (from, to) = (Path::new("/").join(moved), Path::new(NEW_ROOT).join(moved));
            mount_move(&from, &to).map_err(|errno| Error::Mount {
                what: from.display().to_string(),
                on: to,
                source: errno.into(),
            })?;
        }
        rustix::process::chdir(NEW_ROOT).map_err(on_system("enter the new root"))?;
        mount_move(".", "/").map_err(on_system("make the new root the root"))?;
        rustix::process::chroot(".").map_err(on_system("change the root"))
    })();
    if let Err(error) = switched {
        return error;
    }
    let systemd = "/usr/lib/systemd/systemd";
    on_file("start", systemd)(Command::new(systemd).env_clear().env("TERM", "linux").exec())
}
