//! The real way into a guest, against OpenSSH's server on loopback. Needs root, as guests are entered
//! as root, and `sshd` (Debian: openssh-server, which is not asked of everybody who tests: installed, it
//! listens to the network). Where either lacks, each test says so and is left to `tests/e2e`.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use minik_provisioner::report::Outcome;
use minik_provisioner::shell::{
    Call, Connect, Payload, QUICK, Shell, Ssh2, SshError, SshKey, Target, Upload, exec, upload,
};

const SSHD: &str = "/usr/sbin/sshd";

/// Whether this is root everywhere: the server lets nobody in as the root of a user's namespace.
fn is_root() -> bool {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    fs::metadata("/proc/self").is_ok_and(|facts| facts.uid() == 0)
        && fs::read_to_string("/proc/self/uid_map").is_ok_and(whole)
}

/// A server that lives as long as the test.
struct Server {
    process: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
    host_key: SshKey,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; either way there is nothing more to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// None where no server can run, which is said past the test harness, so that it is seen.
    fn start() -> Option<Server> {
        if !is_root() || !Path::new(SSHD).exists() {
            let mut stderr = std::io::stderr();
            writeln!(stderr, "SKIPPED: a test of SSH needs root and {SSHD}").unwrap();
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let host_key = SshKey::generate("host").unwrap();
        let user_key = SshKey::generate("user").unwrap();
        let host = write("host", &host_key.private);
        write("user", &user_key.private);
        let authorized = write("authorized", &format!("{}\n", user_key.public));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // Where the server's unprivileged half is locked into.
        fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/sshd").unwrap();
        let config = write(
            "config",
            &format!(
                "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
                 PermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\n",
                host.display(),
                authorized.display()
            ),
        );
        let process = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(config)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Server { process, folder, address, host_key })
    }

    fn target(&self) -> Target {
        Target {
            machine: "dev".to_owned(),
            address: self.address,
            key: self.folder.path().join("user"),
            host_key: self.host_key.public.clone(),
        }
    }

    fn shell(&self) -> Box<dyn Shell> {
        Ssh2.connect(&self.target(), Duration::from_secs(60)).unwrap()
    }
}

#[test]
fn commands_say_what_they_say_and_end_as_they_end() {
    let Some(server) = Server::start() else { return };
    let mut shell = server.shell();
    let output = exec(&mut *shell, "echo out; echo err >&2; exit 7", QUICK).unwrap();
    assert_eq!(
        (output.exit, output.stdout.as_str(), output.stderr.as_str()),
        (7, "out\n", "err\n")
    );

    // More of both at once than any buffer on the way holds.
    let output =
        exec(&mut *shell, "head -c 8M /dev/zero; head -c 8M /dev/zero >&2", QUICK).unwrap();
    assert_eq!((output.exit, output.stdout.len(), output.stderr.len()), (0, 8 << 20, 8 << 20));
}

#[test]
fn input_goes_in_while_output_comes_out() {
    let Some(server) = Server::start() else { return };
    let mut shell = server.shell();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| n as u8).collect();
    let (mut input, mut stdout, mut stderr) = (sent.as_slice(), Vec::new(), Vec::new());
    let call = Call {
        command: "cat",
        input: Some(&mut input),
        stdout: &mut stdout,
        stderr: &mut stderr,
        patience: QUICK,
    };
    assert_eq!(shell.call(call).unwrap(), 0);
    assert!(stdout == sent, "{} of {} bytes came back", stdout.len(), sent.len());

    // A command that does not read what it is given ends all the same.
    let (mut input, mut stdout, mut stderr) = (sent.as_slice(), Vec::new(), Vec::new());
    let call = Call {
        command: "exit 3",
        input: Some(&mut input),
        stdout: &mut stdout,
        stderr: &mut stderr,
        patience: QUICK,
    };
    assert_eq!(shell.call(call).unwrap(), 3);
}

#[test]
fn files_arrive_whole_and_only_once() {
    let Some(server) = Server::start() else { return };
    let mut shell = server.shell();
    let folder = server.folder.path().join("guest folder");
    let file = |name: &str, mode, bytes: &[u8]| Upload {
        path: folder.join(name).display().to_string(),
        mode,
        payload: Payload::Bytes(bytes.to_vec()),
    };
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    let files = [file("a", 0o600, b"a"), file("x/large", 0o755, &large), file("empty", 0o644, b"")];
    assert_eq!(upload(&mut *shell, "dev", &files).unwrap(), Outcome::Changed);
    assert!(fs::read(folder.join("x/large")).unwrap() == large);
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
    let mode = |name: &str| folder.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("a"), mode("x/large"), mode("empty")), (0o600, 0o755, 0o644));
    assert_eq!(upload(&mut *shell, "dev", &files).unwrap(), Outcome::Unchanged);

    let files = [file("a", 0o600, b"b"), file("x/large", 0o755, &large)];
    assert_eq!(upload(&mut *shell, "dev", &files).unwrap(), Outcome::Changed);
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"b");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "no half-made file is left");

    // A folder where the file should be: the guest's own words come back.
    fs::create_dir_all(folder.join("taken/x")).unwrap();
    let err = upload(&mut *shell, "dev", &[file("taken/x/y/", 0o600, b"")]).unwrap_err();
    assert!(matches!(err, SshError::NotWritten { .. }), "{err:?}");
}

#[test]
fn another_host_key_is_refused_before_anything_is_sent() {
    let Some(server) = Server::start() else { return };
    let target = Target { host_key: SshKey::generate("x").unwrap().public, ..server.target() };
    let Err(err) = Ssh2.connect(&target, Duration::from_secs(60)) else { panic!("let in") };
    let SshError::WrongHostKey { shown, .. } = err else { panic!("{err:?}") };
    assert!(shown.starts_with("SHA256:"), "{shown}");
}

#[test]
fn another_user_key_is_refused() {
    let Some(server) = Server::start() else { return };
    let path = server.folder.path().join("other");
    fs::write(&path, SshKey::generate("x").unwrap().private).unwrap();
    let target = Target { key: path, ..server.target() };
    let Err(err) = Ssh2.connect(&target, Duration::from_secs(60)) else { panic!("let in") };
    assert!(matches!(err, SshError::Refused { .. }), "{err:?}");
}

#[test]
fn nobody_there_is_an_error_after_the_deadline() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target {
        machine: "dev".to_owned(),
        address,
        key: "/none".into(),
        host_key: SshKey::generate("x").unwrap().public,
    };
    let Err(err) = Ssh2.connect(&target, Duration::from_millis(250)) else { panic!("let in") };
    assert!(matches!(err, SshError::Unreachable { .. }), "{err:?}");
}

#[test]
fn a_command_that_falls_silent_is_given_up() {
    let Some(server) = Server::start() else { return };
    let mut shell = server.shell();
    let err = exec(&mut *shell, "exec sleep 20", Duration::from_millis(300)).unwrap_err();
    assert!(matches!(err, SshError::Broken { .. }), "{err:?}");
}

#[test]
fn the_system_s_ssh_takes_our_arguments_and_keys() {
    let Some(server) = Server::start() else { return };
    let target = server.target();
    let known = server.folder.path().join("known hosts");
    let line = minik_provisioner::shell::known_hosts_line("dev", &target.host_key);
    fs::write(&known, line).unwrap();
    let command = ["echo".to_owned(), "it works".to_owned()];
    let arguments = minik_provisioner::shell::ssh_arguments(&target, &known, &command);
    let run = || Command::new("ssh").args(&arguments).stdin(Stdio::null()).output().unwrap();
    // The shell connects first: it waits until the server is there.
    drop(server.shell());
    let output = run();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "it works\n", "{output:?}");

    let other = SshKey::generate("x").unwrap().public;
    fs::write(&known, minik_provisioner::shell::known_hosts_line("dev", &other)).unwrap();
    assert!(!run().status.success(), "another host key is refused");
}
