//! minik-image-boot-time: boots an image without the rest of minik and prints how long its parts take.
//!
//! One run measures both sides of the target "SSH answers within three bare kernel boots": the kernel's part ends when
//! our init says its first line, SSH's when a client has read the server's greeting.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use minik_image::manifest::MANIFEST_FILE;
use minik_image::{Manifest, SeedIdentity, seed};

const USAGE: &str = "usage: minik-image-boot-time FOLDER [RUNS]";
/// Generous: emulation on a busy machine.
const BOOT_WITHIN: Duration = Duration::from_secs(180);
const KERNEL_LINE: &str = "minik: the kernel is up";
const DISK_BYTES: u64 = 20 << 30;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [folder] => measure(Path::new(folder), 3),
        [folder, runs] => runs
            .parse()
            .map_err(|_| Failure::from(USAGE))
            .and_then(|runs| measure(Path::new(folder), runs)),
        _ => Err(USAGE.into()),
    };
    if let Err(error) = outcome {
        drop(writeln!(std::io::stderr(), "minik-image-boot-time: {error}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// How far the clock is at one event of a boot, and how much work QEMU had done: on a busy machine only the second is
/// comparable.
#[derive(Clone, Copy)]
struct Moment {
    since_start: Duration,
    cpu: Duration,
}

/// One boot.
struct Times {
    kernel: Moment,
    ready: Moment,
    ssh: Moment,
}

fn measure(folder: &Path, runs: usize) -> Result<(), Failure> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_FILE))?)?;
    let mut out = std::io::stdout();
    for file in &manifest.files {
        let kept = if file.unpacked_from.is_some() { " (not downloaded)" } else { "" };
        writeln!(out, "{:<13} {:>6.1} MB{kept}", file.name, megabytes(file.size))?;
    }
    let (without, with) = (manifest.download_size(false), manifest.download_size(true));
    writeln!(
        out,
        "{:<13} {:>6.1} MB, {:.1} MB with the Docker layer",
        "download",
        megabytes(without),
        megabytes(with)
    )?;
    for run in 1..=runs {
        let work = std::env::temp_dir().join(format!("minik-boot-{}-{run}", std::process::id()));
        std::fs::create_dir(&work)?;
        let times = boot(folder, &manifest, &work);
        std::fs::remove_dir_all(&work)?;
        let times = times?;
        let Times { kernel, ready, ssh } = times;
        writeln!(
            out,
            "boot {run}: kernel {}, ready {}, ssh answers {} = {:.2} x kernel ({:.2} x its work)",
            show(kernel),
            show(ready),
            show(ssh),
            ssh.since_start.as_secs_f64() / kernel.since_start.as_secs_f64(),
            ssh.cpu.as_secs_f64() / kernel.cpu.as_secs_f64(),
        )?;
    }
    Ok(())
}

fn show(moment: Moment) -> String {
    let (seconds, cpu) = (moment.since_start.as_secs_f64(), moment.cpu.as_secs_f64());
    format!("{seconds:.2} s (cpu {cpu:.2})")
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}

fn boot(folder: &Path, manifest: &Manifest, work: &Path) -> Result<Times, Failure> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    prepare(work)?;
    let channel = UnixListener::bind(work.join("agent"))?;
    let start = Instant::now();
    let mut machine = Machine(start_qemu(folder, manifest, work, port)?);
    let process = machine.0.id();
    let console = machine.0.stdout.take().ok_or("no console")?;
    let (tell, told) = mpsc::channel();
    let kernel = tell.clone();
    let now = move || Moment { since_start: start.elapsed(), cpu: cpu_time(process) };
    std::thread::spawn(move || watch(console, |line| line == KERNEL_LINE, now, &kernel));
    std::thread::spawn(move || {
        if let Ok((stream, _)) = channel.accept() {
            watch(stream, |line| line.contains(r#""event":"ready""#), now, &tell);
        }
    });
    let next = |what: &str| {
        let left = BOOT_WITHIN.saturating_sub(start.elapsed());
        told.recv_timeout(left).map_err(|_| format!("the guest did not say {what} in time"))
    };
    let kernel = next("that its kernel is up")?;
    let ready = next("that it is ready")?;
    greeting(port)?;
    Ok(Times { kernel, ready, ssh: now() })
}

/// User and system time of all threads of a process, to a hundredth of a second.
fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, which may hold anything, ends at the last parenthesis; two fields before state count from there.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// An empty disk and a seed with throw-away keys, which nobody logs in with.
fn prepare(work: &Path) -> Result<(), Failure> {
    File::create(work.join("data"))?.set_len(DISK_BYTES)?;
    let key = work.join("key");
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(&key)
        .status()?;
    if !status.success() {
        return Err("ssh-keygen failed".into());
    }
    let public = std::fs::read_to_string(work.join("key.pub"))?;
    let identity = SeedIdentity {
        instance_id: "boot-time".into(),
        hostname: "boot-time".into(),
        authorized_keys: vec![public.trim().to_owned()],
        host_key_private: std::fs::read_to_string(&key)?,
        host_key_public: public,
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        time_unix_ms: 0,
        nat_mac: Some("52:54:00:00:00:01".into()),
        host_only: None,
    };
    Ok(seed::write(&work.join("seed"), &identity.documents())?)
}

fn start_qemu(
    folder: &Path,
    manifest: &Manifest,
    work: &Path,
    port: u16,
) -> Result<Child, Failure> {
    let disk = |id: &str, path: &Path, rest: &str| {
        [
            "-drive".to_owned(),
            format!("if=none,id={id},format=raw,file={}{rest}", path.display()),
            "-device".to_owned(),
            format!("virtio-blk-pci,drive={id},serial=minik-{id}"),
        ]
    };
    let channel = format!("socket,id=agent,path={}", work.join("agent").display());
    let network = format!("user,id=nat,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22");
    Ok(Command::new("qemu-system-x86_64")
        .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "1024"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(folder.join("vmlinux"))
        .arg("-initrd")
        .arg(folder.join("initrd"))
        .arg("-append")
        .arg(format!("console=hvc0 {}", manifest.cmdline.join(" ")))
        .args(disk("root", &folder.join("root.erofs"), ",read-only=on"))
        .args(disk("data", &work.join("data"), ""))
        .args(disk("seed", &work.join("seed"), ",read-only=on"))
        .args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
        .args(["-chardev", "stdio,id=console", "-device", "virtconsole,chardev=console"])
        .args(["-chardev", &channel])
        .args(["-device", "virtserialport,chardev=agent,name=io.minik.agent.0"])
        .args(["-netdev", &network])
        .args(["-device", "virtio-net-pci,netdev=nat,mac=52:54:00:00:00:01"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?)
}

/// Killed when dropped, whatever happened.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Tells when the line comes, and goes on reading so that the guest never waits for us.
fn watch(
    from: impl Read,
    is_it: impl Fn(&str) -> bool,
    now: impl Fn() -> Moment,
    tell: &mpsc::Sender<Moment>,
) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if is_it(line.trim()) {
            // Nobody listens any more once all times are known.
            let _ = tell.send(now());
        }
    }
}

fn greeting(port: u16) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.starts_with("SSH-2.0-") { Ok(()) } else { Err(format!("not SSH: {line:?}").into()) }
}
