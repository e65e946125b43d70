//! Tries an accelerator by running a small guest with it (D12: tried, not looked at). A host can
//! have `/dev/kvm`, open it, start a machine, and still fail at the first SSE instruction; the
//! guest executes what a kernel and its programs will.

mod guest;

use std::path::{Path, PathBuf};
use std::time::Duration;

use minik_driver::{DriverError, Host, Result, Tool, ToolOutput};
use serde::{Deserialize, Serialize};

use crate::binary::Binaries;
use crate::command_line::SANDBOX;
use guest::GUEST;

/// With KVM the guest takes a tenth of a second. A machine that KVM gave up on never ends.
const DEADLINE: Duration = Duration::from_secs(5);
/// What QEMU exits with when the guest ends well: the guest's 0x10, shifted, plus one.
const PASSED: i32 = 0x21;
/// And when CPUID lacks what every amd64 kernel needs.
const LACKING: i32 = 0x41;
/// The guest's steps, by the letter it says before each.
const STEPS: [(char, &str); 9] = [
    ('p', "the first instruction"),
    ('c', "CPUID"),
    ('l', "the switch to 64 bits"),
    ('y', "syscall"),
    ('2', "an SSE2 instruction"),
    ('3', "an SSE3 instruction"),
    ('b', "a BMI2 instruction"),
    ('t', "rdtscp"),
    ('a', "an AVX instruction"),
];
/// CPU models in the order they are tried: all of the host's processor, then without what some
/// virtual hosts announce but do not let be used.
const CPU_MODELS: [&str; 2] = ["host", "host,-arch-capabilities"];

const CACHE: &str = "accelerator.json";
const CACHE_VERSION: u32 = 1;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the trials of one QEMU on this boot of this host found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    /// The CPU model KVM ran the guest with; `None` when it did not or was not tried.
    pub(crate) kvm_cpu: Option<String>,
    /// What happened with KVM, as one sentence without a dot.
    pub(crate) reason: String,
    /// QEMU can run in its sandbox.
    pub(crate) sandbox: bool,
}

/// What a result is valid for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    version: u32,
    qemu: PathBuf,
    size: u64,
    modified_ns: i64,
    boot_id: String,
    kvm_opens: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    subject: Subject,
    found: Found,
}

/// Tries the sandbox and, when `/dev/kvm` opens, KVM; or tells what an earlier trial found.
pub(crate) fn find(
    host: &dyn Host,
    tools: &Binaries,
    cache: &Path,
    kvm_opens: bool,
) -> Result<Found> {
    let subject = subject(host, tools, kvm_opens)?;
    let file = cache.join(CACHE);
    let cached = host.read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(Cached { subject: known, found }) = cached
        && known == subject
    {
        return Ok(found);
    }
    let found = try_out(host, tools, cache, kvm_opens)?;
    let text = serde_json::to_vec_pretty(&Cached { subject, found: found.clone() });
    // Without the cache the next start tries again, which costs seconds and nothing else.
    text.ok().map(|text| host.write_atomic(&file, &text, 0o600));
    Ok(found)
}

fn subject(host: &dyn Host, tools: &Binaries, kvm_opens: bool) -> Result<Subject> {
    let qemu = tools.system.clone();
    let Some(facts) = host.facts(&qemu) else {
        return Err(DriverError::FileMissing { what: "QEMU", path: qemu });
    };
    let modified_ns = i64::try_from(facts.modified_ns).unwrap_or(0);
    let boot_id = host.read_text(Path::new(BOOT_ID))?.trim().to_owned();
    Ok(Subject { version: CACHE_VERSION, qemu, size: facts.size, modified_ns, boot_id, kvm_opens })
}

fn try_out(host: &dyn Host, tools: &Binaries, cache: &Path, kvm_opens: bool) -> Result<Found> {
    host.make_dir(cache, 0o700)?;
    let guest = cache.join("trial-guest");
    host.write_atomic(&guest, &GUEST, 0o600)?;
    let run = |accelerator: &str, cpu: &str, sandbox: bool| {
        let trace = cache.join(format!("trial-{}.trace", std::process::id()));
        let tool = tool(&tools.system, &guest, &trace, accelerator, cpu, sandbox);
        let result = host.run_any(&tool);
        let said = host.read_text(&trace).unwrap_or_default();
        host.remove(&trace)?;
        Ok::<_, DriverError>(judge(&result, &said))
    };
    let sandbox = run("tcg", "max", true)?.is_ok();
    if !kvm_opens {
        return Ok(Found { kvm_cpu: None, reason: String::new(), sandbox });
    }
    let mut reasons = Vec::new();
    for cpu in CPU_MODELS {
        match run("kvm", cpu, sandbox)? {
            Ok(()) => {
                let reason = format!("KVM ran the trial guest with the CPU model `{cpu}`");
                return Ok(Found { kvm_cpu: Some(cpu.to_owned()), reason, sandbox });
            }
            Err(reason) => reasons.push(format!("with the CPU model `{cpu}` {reason}")),
        }
    }
    let reason = format!("/dev/kvm opens, but {}", reasons.join("; "));
    Ok(Found { kvm_cpu: None, reason, sandbox })
}

fn tool(
    qemu: &Path,
    guest: &Path,
    trace: &Path,
    accelerator: &str,
    cpu: &str,
    sandbox: bool,
) -> Tool {
    let chardev = format!("file,id=trace,path={}", trace.display().to_string().replace(',', ",,"));
    let mut args = vec!["-machine", "q35", "-no-user-config", "-nodefaults", "-display", "none"];
    args.extend(["-m", "16M", "-no-reboot", "-accel", accelerator, "-cpu", cpu]);
    args.extend(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    args.extend(["-chardev", &chardev, "-device", "isa-debugcon,iobase=0xe9,chardev=trace"]);
    if sandbox {
        args.extend(["-sandbox", SANDBOX]);
    }
    Tool::new(qemu)
        .args(args)
        .args(["-kernel".to_owned(), guest.display().to_string()])
        .deadline(DEADLINE)
}

/// `Err` says how the trial failed, to follow "with the CPU model …".
fn judge(result: &Result<ToolOutput>, trace: &str) -> std::result::Result<(), String> {
    let last = trace.chars().last();
    let step = STEPS.iter().find(|(letter, _)| Some(*letter) == last).map(|(_, step)| *step);
    let at = step.map_or("before its first instruction".to_owned(), |step| format!("at {step}"));
    match result {
        Ok(output) if output.exit == Some(PASSED) => Ok(()),
        Ok(output) if output.exit == Some(LACKING) => {
            Err("the guest sees no complete 64-bit processor".to_owned())
        }
        Ok(output) => {
            let complaint = first_complaint(&String::from_utf8_lossy(&output.stderr));
            Err(format!("the trial guest failed {at}{complaint}"))
        }
        Err(DriverError::ToolTimedOut { output, .. }) => {
            Err(format!("the trial guest stopped {at}{}", first_complaint(output)))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn first_complaint(stderr: &str) -> String {
    let told = |line: &&str| !line.is_empty() && !line.contains("warning:");
    match stderr.lines().map(str::trim).find(told) {
        // QEMU begins with its own name.
        Some(line) => match line.split_once(": ") {
            Some((program, said)) if program.starts_with("qemu") => format!(" ({said})"),
            Some(_) | None => format!(" ({line})"),
        },
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
