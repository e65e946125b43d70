//! A small HTTP server on the loopback that can be told to misbehave, and a disk that is easily full.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What goes wrong with the one file the server was told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    NotFound,
    /// The byte at this place is another one.
    FlipByte(usize),
    /// This many bytes are missing at the end, and the header says so.
    Truncate(usize),
    /// This many bytes too many, and the header says so.
    Grow(usize),
    /// The first answer breaks off after so many bytes.
    BreakOnceAfter(usize),
    /// Every answer does.
    BreakAlwaysAfter(usize),
    /// The first answer breaks off, and ranges are not understood.
    NoRangesAndBreakOnceAfter(usize),
    /// Takes its time, so that others come in between.
    Slow,
}

/// Serves a folder until dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    site: PathBuf,
    file: String,
    fault: Fault,
    on_request: Box<dyn Fn(&str) + Send + Sync>,
    requests: Mutex<Vec<String>>,
    broken_once: AtomicBool,
    stop: AtomicBool,
}

impl Server {
    pub(crate) fn start(site: PathBuf, file: &str, fault: Fault) -> Self {
        Self::start_with(site, file, fault, |_| {})
    }

    /// `on_request` hears the path of each request before it is answered.
    pub(crate) fn start_with(
        site: PathBuf,
        file: &str,
        fault: Fault,
        on_request: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            site,
            file: format!("/{file}"),
            fault,
            on_request: Box::new(on_request),
            requests: Mutex::default(),
            broken_once: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if for_thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || shared.converse(stream));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Path and the headers that matter, one line per request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("whole").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server did not panic");
        }
    }
}

impl Shared {
    fn converse(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((path, range, if_range)) = read_request(&mut reader) {
            let mut line = path.clone();
            for (name, value) in [("range", &range), ("if-range", &if_range)] {
                if let Some(value) = value {
                    line.push_str(&format!(" {name}: {value}"));
                }
            }
            self.requests.lock().expect("whole").push(line);
            (self.on_request)(&path);
            if !self.answer(&mut stream, &path, range.as_deref()) {
                drop(stream.shutdown(Shutdown::Both));
                return;
            }
        }
    }

    /// Whether the connection can be used again.
    fn answer(&self, stream: &mut TcpStream, path: &str, range: Option<&str>) -> bool {
        let fault = if path == self.file { self.fault } else { Fault::None };
        let Ok(mut content) = fs::read(self.site.join(path.trim_start_matches('/'))) else {
            return send(stream, "404 Not Found", "", b"", 0);
        };
        match fault {
            Fault::NotFound => return send(stream, "404 Not Found", "", b"", 0),
            Fault::FlipByte(at) => content[at] ^= 1,
            Fault::Truncate(bytes) => content.truncate(content.len() - bytes),
            Fault::Grow(bytes) => content.extend(vec![0; bytes]),
            Fault::Slow => std::thread::sleep(Duration::from_millis(300)),
            _ => {}
        }
        let total = content.len();
        let start = match range {
            Some(range) if !matches!(fault, Fault::NoRangesAndBreakOnceAfter(_)) => {
                let digits = range.trim_start_matches("bytes=").trim_end_matches('-');
                digits.parse().expect("a range")
            }
            _ => 0,
        };
        let (status, headers) = if start > 0 {
            let headers =
                format!("etag: \"v1\"\r\ncontent-range: bytes {start}-{}/{total}\r\n", total - 1);
            ("206 Partial Content", headers)
        } else {
            ("200 OK", "etag: \"v1\"\r\n".to_owned())
        };
        let body = &content[start..];
        let break_after = match fault {
            Fault::BreakAlwaysAfter(bytes) => Some(bytes),
            Fault::BreakOnceAfter(bytes) | Fault::NoRangesAndBreakOnceAfter(bytes) => {
                (!self.broken_once.swap(true, Ordering::SeqCst)).then_some(bytes)
            }
            _ => None,
        };
        let sent = break_after.map_or(body.len(), |bytes| bytes.min(body.len()));
        send(stream, status, &headers, &body[..sent], body.len()) && sent == body.len()
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(String, Option<String>, Option<String>)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut range, mut if_range) = (None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            return Some((path, range, if_range));
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.trim().to_owned()),
            "if-range" => if_range = Some(value.trim().to_owned()),
            _ => {}
        }
    }
}

fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8], length: usize) -> bool {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_ok()
}

/// A tmpfs of its own, unmounted when dropped.
pub(crate) struct SmallDisk {
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).expect("made");
        let options = std::ffi::CString::new(format!("size={size}")).expect("no zero byte");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", path, "tmpfs", flags, options.as_c_str())
            .expect("this test mounts a tmpfs and must run as root");
        Self { path: path.into() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}
