//! A lab: one network namespace, one home folder for minik, one kubeconfig; all gone when dropped.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Where a test runs minik, kubectl and curl.
///
/// Nothing in it reaches the machine's own network: the namespace has a loopback device and what
/// minik makes.
#[derive(Debug)]
pub struct Lab {
    namespace: String,
    /// The user that commands run as; root when none is named.
    user: Option<u32>,
    folder: TempDir,
    bin: PathBuf,
    environment: Vec<(String, String)>,
}

/// What a command of the lab printed and ended with.
#[derive(Debug)]
pub struct Said {
    /// The command, for messages.
    pub command: String,
    /// Standard output without the last line break.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; -1 where a signal ended the command.
    pub code: i32,
}

impl Said {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        );
        self.stdout
    }

    /// What a command that must have failed with `code` said on standard error.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(
            self.code, code,
            "`{}` ended with {} instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        );
        self.stderr
    }
}

/// The folder the workspace lies in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders down").to_owned()
}

/// The public key of images built on this machine, where `guest-image/build` keeps it.
fn builders_key() -> PathBuf {
    let keys = std::env::var_os("MINIK_IMAGE_KEYS").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        data.unwrap_or_else(|| home.join(".local/share")).join("minik/keys")
    });
    keys.join("image-local.pub")
}

impl Lab {
    /// Makes the namespace and the folder.
    ///
    /// # Panics
    ///
    /// There is no right to make a network namespace, or the programs and the guest image have not
    /// been built: `make test` does both first.
    pub fn new(name: &str) -> Lab {
        let namespace = format!("minik-{name}-{}", std::process::id());
        let bin = std::env::var_os("MINIK_BIN")
            .map_or_else(|| root().join("target/release"), PathBuf::from);
        assert!(bin.join("minik").exists(), "{} has no minik: run `make build`", bin.display());
        let manifest = root().join("out/guest-image/manifest.json");
        assert!(manifest.exists(), "{} is missing: run `make guest-image`", manifest.display());
        let folder = tempfile::Builder::new().prefix("mk").tempdir().expect("a temporary folder");
        let mut environment = vec![
            ("MINIK_HOME".to_owned(), folder.path().join("h").display().to_string()),
            ("KUBECONFIG".to_owned(), folder.path().join("kubeconfig").display().to_string()),
            ("MINIK_IMAGE_URL".to_owned(), format!("file://{}", manifest.display())),
        ];
        // The lab's own home trusts nobody yet; the image was signed with the key of who built it.
        let key = folder.path().join("image.pub");
        std::fs::copy(builders_key(), &key).expect("the public key of who built the image");
        environment.push(("MINIK_IMAGE_KEY".to_owned(), key.display().to_string()));
        let qemu = root().join("out/tools/qemu/bin/qemu-system-x86_64");
        if qemu.exists() {
            environment.push(("MINIK_QEMU".to_owned(), qemu.display().to_string()));
        }
        let lab = Lab { namespace, user: None, folder, bin, environment };
        lab.outside("ip", &["netns", "add", &lab.namespace]).ok();
        lab.outside("ip", &["-n", &lab.namespace, "link", "set", "lo", "up"]).ok();
        lab
    }

    /// A lab whose commands run as a user without any rights.
    ///
    /// # Panics
    ///
    /// As [`Lab::new`].
    pub fn unprivileged(name: &str) -> Lab {
        /// Debian's `nobody`.
        const NOBODY: u32 = 65534;
        let mut lab = Lab::new(name);
        std::os::unix::fs::chown(lab.folder.path(), Some(NOBODY), Some(NOBODY))
            .expect("root may give its folder away");
        let home = lab.folder.path().display().to_string();
        lab.set("HOME", &home);
        lab.set("XDG_RUNTIME_DIR", &home);
        lab.user = Some(NOBODY);
        lab
    }

    /// A file of this lab.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets a variable for every command that follows.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Whether machines here can have addresses of their own. Users who run these tests have rights in
    /// namespaces of their own, which are of no use where the device belongs to root alone.
    pub fn can_make_taps(&self) -> bool {
        self.user.is_none()
            && std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
    }

    /// From now on minik is run from a folder in which it is alone, as one downloads it.
    #[must_use]
    pub fn with_minik_alone(mut self) -> Lab {
        let alone = self.path("bin");
        std::fs::create_dir_all(&alone).expect("a folder for minik");
        std::fs::copy(self.bin.join("minik"), alone.join("minik")).expect("a copy of minik");
        self.bin = alone;
        self
    }

    /// Runs minik; words are separated by blanks.
    pub fn minik(&self, words: &str) -> Said {
        let minik = self.bin.join("minik");
        self.inside(minik.to_str().expect("a path in UTF-8"), words, None)
    }

    /// Runs `minik start` with events and kills it, with SIGKILL, when the step `name` begins; false
    /// when it ended before.
    pub fn start_killed_at(&self, flags: &str, name: &str) -> bool {
        let mut command = self.command(self.bin.join("minik").to_str().expect("a path in UTF-8"));
        command.args(["start", "--output", "json"]).args(flags.split_whitespace());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("minik starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let begins = lines.lines().map_while(Result::ok).any(|line| {
            let event: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            event["type"] == "io.k8s.sigs.minikube.step" && event["data"]["name"] == name
        });
        // `ip netns exec` and `setpriv` become the program itself: this is minik's own process.
        child.kill().expect("the process is ours");
        child.wait().expect("it ends");
        begins
    }

    /// Runs the machine's own, unmodified kubectl.
    pub fn kubectl(&self, words: &str) -> Said {
        self.inside("kubectl", words, None)
    }

    /// Runs kubectl with a manifest on standard input.
    pub fn kubectl_with(&self, words: &str, stdin: &str) -> Said {
        self.inside("kubectl", words, Some(stdin))
    }

    /// Fetches a URL as a user on the host would, for at most 60 seconds.
    pub fn curl(&self, url: &str) -> Said {
        self.inside(
            "curl",
            &format!(
                "--silent --show-error --fail --max-time 60 --retry 5 --retry-connrefused {url}"
            ),
            None,
        )
    }

    /// Runs a line of shell in the lab, with minik on the path.
    pub fn shell(&self, line: &str) -> Said {
        let mut command = self.command("bash");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.bin.display()));
        command.args(["-euo", "pipefail", "-c", line]);
        run(command, line.to_owned(), None)
    }

    /// Runs a program inside the namespace.
    pub fn inside(&self, program: &str, words: &str, stdin: Option<&str>) -> Said {
        let mut command = self.command(program);
        command.args(words.split_whitespace());
        run(command, format!("{program} {words}"), stdin)
    }

    /// The JSON that `kubectl get … -o json` prints.
    #[track_caller]
    pub fn get(&self, what: &str) -> Value {
        let text = self.kubectl(&format!("get {what} -o json")).ok();
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{what}: {err}\n{text}"))
    }

    /// What of this lab is left on the machine: processes that name its folder, devices beside
    /// loopback, entries of the kubeconfig. Empty after a clean `minik delete`.
    pub fn leftovers(&self) -> String {
        let mut found = self.leftovers_of_machines();
        let contexts = self.kubectl("config get-contexts -o name").stdout;
        for context in contexts.lines() {
            let _ = writeln!(found, "context {context}");
        }
        for profile in
            std::fs::read_dir(self.path("h/data/profiles")).into_iter().flatten().flatten()
        {
            let _ = writeln!(found, "folder {}", profile.path().display());
        }
        found
    }

    /// The processes and network devices among [`Lab::leftovers`].
    pub fn leftovers_of_machines(&self) -> String {
        let mut found = String::new();
        let folder = self.folder.path().display().to_string();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&folder) && line.contains("qemu") {
                let _ = writeln!(found, "process {}: {line}", entry.file_name().display());
            }
        }
        let devices = self.inside("ip", "-o link show", None).ok();
        for device in devices.lines().filter(|line| !line.contains("LOOPBACK")) {
            let _ = writeln!(found, "device {device}");
        }
        found
    }

    /// A copy of the guest image that a test may damage.
    pub fn copy_image(&self, to: &Path) {
        std::fs::create_dir_all(to).expect("a folder of ours");
        for file in std::fs::read_dir(root().join("out/guest-image")).expect("the image").flatten()
        {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("room for a copy");
        }
    }

    /// Holds the lock of a cluster, as another minik would, until the file is dropped.
    pub fn hold_the_lock(&self, profile: &str) -> std::fs::File {
        let folder = self.path("h/data/locks");
        std::fs::create_dir_all(&folder).expect("a folder of ours");
        let file =
            std::fs::File::create(folder.join(format!("{profile}.lock"))).expect("a file of ours");
        file.lock().expect("nobody else has it");
        file
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        if let Some(user) = self.user {
            let ids = [format!("--reuid={user}"), format!("--regid={user}")];
            command.arg("setpriv").args(ids).arg("--clear-groups");
        }
        command.arg(program);
        command.envs(self.environment.iter().cloned());
        command
    }

    fn outside(&self, program: &str, words: &[&str]) -> Said {
        let mut command = Command::new(program);
        command.args(words);
        run(command, format!("{program} {}", words.join(" ")), None)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.minik("logs -n 80"));
        }
        let said = self.minik("delete --all");
        if said.code != 0 {
            show(&said);
        }
        self.outside("ip", &["netns", "delete", &self.namespace]);
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a failed test")]
fn show(said: &Said) {
    eprintln!("$ {} -> {}\n{}\n{}", said.command, said.code, said.stdout, said.stderr);
}

/// Changes one byte in the middle of a file.
pub fn flip_a_byte(file: &Path) {
    let mut content = std::fs::read(file).expect("the file is there");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(file, content).expect("the file is ours");
}

fn run(mut command: Command, shown: String, stdin: Option<&str>) -> Said {
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|err| panic!("`{shown}`: {err}"));
    if let Some(text) = stdin {
        use std::io::Write as _;
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(text.as_bytes()).unwrap_or_else(|err| panic!("`{shown}`: {err}"));
    }
    let Output { status, stdout, stderr } =
        child.wait_with_output().unwrap_or_else(|err| panic!("`{shown}`: {err}"));
    Said {
        command: shown,
        stdout: String::from_utf8_lossy(&stdout).trim_end().to_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        code: status.code().unwrap_or(-1),
    }
}
