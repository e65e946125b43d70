//! What a container leaves as its last words: the termination message.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use minik_cri::v1;

use crate::object;
use crate::server::log_line;
use crate::spec::names;

/// No more of a message is kept.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// From the log, no more than this and these many lines.
const LOG_BYTES_MAX: u64 = 2048;
const LOG_LINES_MAX: usize = 80;

/// The file that a run of a container can write its message to.
pub(crate) fn file(root: &Path, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    let folder = names::pod_directory(root, object::uid(pod)).join("containers");
    folder.join(container).join(attempt.to_string())
}

/// The message of a run that has ended, if it left one.
pub(crate) fn read(
    root: &Path,
    pod: &Pod,
    container: &str,
    status: &v1::ContainerStatus,
) -> Option<String> {
    let attempt = super::container::attempt_of(status);
    let written = tail(&file(root, pod, container, attempt), MESSAGE_BYTES_MAX);
    if let Some(text) = written.filter(|text| !text.is_empty()) {
        return Some(text);
    }
    let policy = status.annotations.get(names::MESSAGE_POLICY)?;
    if policy != "FallbackToLogsOnError" || status.exit_code == 0 {
        return None;
    }
    let log = tail(Path::new(&status.log_path), LOG_BYTES_MAX * 2)?;
    let lines: Vec<&str> = log.lines().filter_map(log_line::content).collect();
    let text = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n");
    let cut = text.len().saturating_sub(usize::try_from(LOG_BYTES_MAX).unwrap_or(0));
    let cut = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Some(text[cut..].to_owned()).filter(|text| !text.is_empty())
}

/// The last bytes of a file.
fn tail(path: &Path, bytes_max: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max))).ok()?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
