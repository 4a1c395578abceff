//! Access-log files. A worker appends to a buffer, and one thread per file writes, so that a slow disk delays no
//! request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use parking_lot::Mutex;
use tombolo_telemetry::Outage;

use crate::config::access_log::AccessLog;
use crate::config::format::LogFields;

/// Buffer size at which a worker passes its buffer to the writer before the next tick, in bytes.
const BUFFER: usize = 64 * 1024;
/// Maximum buffers that wait for a file's writer; further lines are dropped, so that no request is delayed.
const QUEUE: usize = 64;

/// The writers of one process, by path.
#[derive(Default)]
pub(crate) struct Files {
    /// Guards the list of open files; taken when a worker first writes to a path.
    open: Mutex<HashMap<Arc<str>, SyncSender<String>>>,
}

impl Files {
    fn sender(&self, path: &Arc<str>) -> Option<SyncSender<String>> {
        let mut open = self.open.lock();
        if let Some(sender) = open.get(path) {
            return Some(sender.clone());
        }
        let file: Box<dyn Write + Send> = match OpenOptions::new()
            .create(true)
            .append(true)
            .open(&**path)
        {
            Ok(file) => Box::new(file),
            // Standard streams can be pipes or sockets, which cannot be opened by name.
            Err(_) if path.starts_with("/dev/stderr") => Box::new(std::io::stderr()),
            Err(_) if path.starts_with("/dev/std") => Box::new(std::io::stdout()),
            Err(error) => {
                tracing::warn!(%path, %error, "access log cannot be opened; its lines are lost");
                return None;
            }
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let written = path.clone();
        let spawned = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&written, file, &receiver));
        if let Err(error) = spawned {
            tracing::warn!(%path, %error, "access log writer cannot start; its lines are lost");
        }
        open.insert(path.clone(), sender.clone());
        Some(sender)
    }
}

fn write_all(path: &str, mut file: Box<dyn Write + Send>, receiver: &Receiver<String>) {
    let mut failing = Outage::default();
    while let Ok(lines) = receiver.recv() {
        match file.write_all(lines.as_bytes()).and_then(|()| file.flush()) {
            Ok(()) => {
                if let Some(lost) = failing.ended() {
                    tracing::warn!(path, lost, "access log is written again; buffers were lost");
                }
            }
            Err(error) => {
                if failing.begins() {
                    tracing::warn!(path, %error, "access log cannot be written; its lines are lost");
                }
            }
        }
    }
}

/// One worker's buffers.
pub(crate) struct Logs {
    files: Arc<Files>,
    buffers: RefCell<HashMap<Arc<str>, Buffer>>,
}

struct Buffer {
    path: Arc<str>,
    lines: String,
    writer: Option<SyncSender<String>>,
    dropping: Outage,
}

impl Logs {
    pub(crate) fn new(files: Arc<Files>) -> Rc<Self> {
        Rc::new(Self {
            files,
            buffers: RefCell::default(),
        })
    }

    pub(crate) fn write(&self, log: &AccessLog, fields: &LogFields<'_>) {
        let mut buffers = self.buffers.borrow_mut();
        if !buffers.contains_key(&log.path) {
            let writer = self.files.sender(&log.path);
            buffers.insert(
                log.path.clone(),
                Buffer {
                    path: log.path.clone(),
                    lines: String::new(),
                    writer,
                    dropping: Outage::default(),
                },
            );
        }
        if let Some(buffer) = buffers.get_mut(&log.path) {
            log.write(fields, &mut buffer.lines);
            if buffer.lines.len() >= BUFFER {
                buffer.send_to_writer();
            }
        }
    }

    /// Passes the buffered lines to the writers; called on every tick and at the end.
    pub(crate) fn flush(&self) {
        for buffer in self.buffers.borrow_mut().values_mut() {
            buffer.send_to_writer();
        }
    }
}

impl Buffer {
    fn send_to_writer(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        // Without a writer the lines are lost; the failed start of the writer was logged.
        let Some(writer) = &self.writer else { return };
        let path = &self.path;
        match writer.try_send(lines) {
            Ok(()) => {
                if let Some(dropped) = self.dropping.ended() {
                    tracing::warn!(%path, dropped, "access log writer keeps up again; buffers were dropped");
                }
            }
            Err(TrySendError::Full(_)) => {
                if self.dropping.begins() {
                    tracing::warn!(%path, "access log writer is behind; lines are dropped until it keeps up");
                }
            }
            Err(TrySendError::Disconnected(_)) => {
                if self.dropping.begins() {
                    tracing::error!(%path, "access log writer has ended; its lines are lost");
                }
            }
        }
    }
}
