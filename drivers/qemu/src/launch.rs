//! Starts QEMU and finds out which process it became; finds it again later.

use std::path::Path;
use std::time::Duration;

use minik_driver::{DriverError, Host, MachineSpec, ProcessRecord, Result, Tool};

use crate::binary::Binaries;
use crate::command_line::{Launch, command_line};
use crate::files::Files;
use crate::record::MachineRecord;

/// QEMU goes to the background when it has opened everything, which takes a moment.
const DEADLINE: Duration = Duration::from_secs(60);
/// How much of the console goes into an error.
const TAIL_LINES: usize = 30;
/// How much of the console is looked at for that.
const TAIL_BYTES: usize = 16 << 10;

/// Runs QEMU until it is in the background.
pub(crate) fn launch(
    host: &dyn Host,
    tools: &Binaries,
    spec: &MachineSpec,
    launch: &Launch,
) -> Result<ProcessRecord> {
    check_files(host, spec, launch)?;
    keep_last_console(host, spec)?;
    let files = Files(spec);
    for socket in [files.monitor(), files.agent(), files.pid()] {
        host.remove(&socket)?;
    }
    let args = command_line(spec, launch);
    let readable = format!("{} \\\n  {}\n", tools.system.display(), args.join(" \\\n  "));
    host.write_atomic(&files.command(), readable.as_bytes(), 0o600)?;
    let tool = Tool::new(&tools.system).args(args).deadline(DEADLINE).log(files.qemu_log());
    host.run(&tool).map_err(|error| classify(error, spec))?;
    match started(host, spec)? {
        Some(process) => Ok(process),
        None => Err(died(host, spec)),
    }
}

fn check_files(host: &dyn Host, spec: &MachineSpec, launch: &Launch) -> Result<()> {
    let image = &spec.image;
    let kernel = match launch.engine {
        crate::command_line::Engine::Kvm { .. } => &image.vmlinuz,
        crate::command_line::Engine::Emulation => &image.vmlinux,
    };
    let mut needed = vec![
        ("the kernel", kernel),
        ("the initial RAM disk", &image.initrd),
        ("the root file system", &image.root),
        ("the seed", &spec.seed),
    ];
    needed.extend(image.docker.as_ref().map(|layer| ("the Docker layer", layer)));
    match needed.into_iter().find(|(_, path)| !host.exists(path)) {
        Some((what, path)) => Err(DriverError::FileMissing { what, path: path.clone() }),
        None => Ok(()),
    }
}

/// The console of the start before is kept, for when the question is how the machine ended.
fn keep_last_console(host: &dyn Host, spec: &MachineSpec) -> Result<()> {
    let console = Files(spec).console();
    match host.exists(&console) {
        true => host.rename(&console, &console.with_extension("last.log")),
        false => Ok(()),
    }
}

/// QEMU's complaint as a fact, where minik knows what it means.
fn classify(error: DriverError, spec: &MachineSpec) -> DriverError {
    let DriverError::ToolFailed { output, exit, .. } = error else { return error };
    if output.contains("No space left on device") {
        DriverError::DiskFull { path: spec.dir.clone() }
    } else if output.contains("Failed to get \"write\" lock") {
        DriverError::DiskBusy { path: Files(spec).data_disk() }
    } else if output.contains("annot allocate memory")
        || output.contains("cannot set up guest memory")
    {
        DriverError::NoMemory { machine: spec.name.clone(), memory_mib: spec.memory_mib }
    } else {
        // The whole command is a page long and in a file; its name is enough.
        let command = "qemu-system-x86_64".to_owned();
        DriverError::ToolFailed { command, exit, output }
    }
}

/// The machine's process, if it runs: the one recorded, or one that was started and not recorded
/// because minik was killed in between. That one is known by its pid file and its arguments.
pub(crate) fn running(
    host: &dyn Host,
    spec: &MachineSpec,
    record: Option<&MachineRecord>,
) -> Result<Option<ProcessRecord>> {
    let recorded = record.and_then(|record| record.process.clone());
    match recorded.filter(|process| process.is_alive(host)) {
        Some(process) => Ok(Some(process)),
        None => started(host, spec),
    }
}

fn started(host: &dyn Host, spec: &MachineSpec) -> Result<Option<ProcessRecord>> {
    let pid_file = Files(spec).pid();
    if !host.exists(&pid_file) {
        return Ok(None);
    }
    let Ok(pid) = host.read_text(&pid_file)?.trim().parse::<u32>() else { return Ok(None) };
    let arguments = host.read(Path::new(&format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    let ours = pid_file.display().to_string();
    if !arguments.split(|byte| *byte == 0).any(|argument| argument == ours.as_bytes()) {
        return Ok(None);
    }
    // It may end between two looks.
    Ok(ProcessRecord::of(host, pid).ok().filter(|process| process.is_alive(host)))
}

/// The error for a machine that ended, with the end of what it printed.
pub(crate) fn died(host: &dyn Host, spec: &MachineSpec) -> DriverError {
    let console_tail = match console_tail(host, spec) {
        empty if empty.is_empty() => tail(host, &Files(spec).qemu_log()),
        printed => printed,
    };
    DriverError::Died { machine: spec.name.clone(), console: Files(spec).console(), console_tail }
}

/// The last lines of the console.
pub(crate) fn console_tail(host: &dyn Host, spec: &MachineSpec) -> String {
    tail(host, &Files(spec).console())
}

fn tail(host: &dyn Host, file: &Path) -> String {
    let content = host.read(file).unwrap_or_default();
    let end = &content[content.len().saturating_sub(TAIL_BYTES)..];
    let text = readable(&String::from_utf8_lossy(end));
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Leaves out what only a terminal understands: the firmware clears the screen, systemd colours.
fn readable(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => skip_sequence(&mut chars),
            '\n' | '\t' => kept.push(char),
            control if control.is_control() => {}
            other => kept.push(other),
        }
    }
    kept
}

/// A control sequence ends with a letter, a command for the terminal's window with a bell, and any
/// other has one more character.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => drop(chars.find(|c| ('@'..='~').contains(c))),
        Some(']') => drop(chars.find(|c| *c == '\x07')),
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use minik_driver::{NetworkMode, ScriptedHost};
    use test_case::test_case;

    use super::*;
    use crate::command_line::tests::sample;

    #[test_case("qemu: Could not write: No space left on device", "no space is left for /data/dev"; "full disk")]
    #[test_case("qemu: Failed to get \"write\" lock\nIs another process using the image", "the disk /data/dev/data.qcow2 is used by another process"; "disk in use")]
    #[test_case("qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory", "the host did not give 2048 MiB of memory to machine `dev`"; "no memory")]
    #[test_case("qemu: -device x: no such device", "`qemu-system-x86_64` failed with exit code 1: qemu: -device x: no such device"; "anything else")]
    fn complaints(output: &str, expected: &str) {
        let (command, output) = ("qemu-system-x86_64 …".to_owned(), output.to_owned());
        let error = DriverError::ToolFailed { command, exit: Some(1), output };
        assert_eq!(classify(error, &sample(NetworkMode::User)).to_string(), expected);
    }

    #[test]
    fn a_console_is_readable_without_its_terminal() {
        let printed = "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n\x1b[!p\x1b]104\x07\x1b[0;1;31mPanic\x1b[0m\tnow\x1b";
        assert_eq!(readable(printed), "SeaBIOS\nPanic\tnow");
    }

    #[test]
    fn a_process_nobody_recorded_is_found_and_a_stranger_is_not() {
        let spec = sample(NetworkMode::User);
        let host = ScriptedHost::new();
        let found = |host: &ScriptedHost| {
            running(host, &spec, None).expect("files can be read").map(|process| process.pid)
        };
        assert_eq!(found(&host), None);
        host.file("/run/dev/qemu.pid", "77\n").file("/proc/sys/kernel/random/boot_id", "b");
        host.file("/proc/77/stat", "77 (x) S 1 77 77 0 -1 1 2 3 4 5 6 7 8 9 20 0 4 0 4242 100");
        host.file("/proc/77/cmdline", "editor\0/run/dev/qemu.pid.txt\0");
        assert_eq!(found(&host), None);
        host.file("/proc/77/cmdline", "qemu\0-pidfile\0/run/dev/qemu.pid\0");
        assert_eq!(found(&host), Some(77));
    }
}
