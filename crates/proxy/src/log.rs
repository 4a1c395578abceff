//! Access-log files. A worker appends to a buffer; a thread per file writes, so that a slow disk stalls no request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use crate::config::access_log::AccessLog;
use crate::config::format::Facts;

/// A worker hands its buffer over at this size even before the next tick.
const BUFFER: usize = 64 * 1024;
/// Buffers waiting for a file's writer; beyond that, lines are dropped rather than requests delayed.
const QUEUE: usize = 64;

/// The writers of one process, by path.
#[derive(Default)]
pub(crate) struct Files {
    /// Guards the list of open files; taken when a worker first writes to a path.
    open: Mutex<HashMap<Arc<str>, SyncSender<String>>>,
}

impl Files {
    fn sender(&self, path: &Arc<str>) -> Option<SyncSender<String>> {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(sender) = open.get(path) {
            return Some(sender.clone());
        }
        let file = match OpenOptions::new().create(true).append(true).open(&**path) {
            Ok(file) => file,
            // Standard streams may be pipes or sockets that cannot be opened by name.
            Err(error) if path.starts_with("/dev/std") => {
                tracing::debug!(%path, %error, "writing access log through the process's own stream");
                return Some(start(path, &mut open, standard(path)));
            }
            Err(error) => {
                tracing::warn!(%path, %error, "access log cannot be opened; its lines are lost");
                return None;
            }
        };
        Some(start(path, &mut open, Box::new(file)))
    }
}

fn standard(path: &str) -> Box<dyn Write + Send> {
    if path.ends_with("stderr") {
        Box::new(std::io::stderr())
    } else {
        Box::new(std::io::stdout())
    }
}

fn start(
    path: &Arc<str>,
    open: &mut HashMap<Arc<str>, SyncSender<String>>,
    file: Box<dyn Write + Send>,
) -> SyncSender<String> {
    let (sender, receiver) = sync_channel(QUEUE);
    let spawned = std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || write_all(file, &receiver));
    if let Err(error) = spawned {
        tracing::warn!(%path, %error, "access log writer cannot start; its lines are lost");
    }
    open.insert(path.clone(), sender.clone());
    sender
}

fn write_all(mut file: Box<dyn Write + Send>, receiver: &Receiver<String>) {
    while let Ok(lines) = receiver.recv() {
        if let Err(error) = file.write_all(lines.as_bytes()).and_then(|()| file.flush()) {
            tracing::warn!(%error, "access log lines lost");
        }
    }
}

/// One worker's buffers.
pub(crate) struct Logs {
    files: Arc<Files>,
    buffers: RefCell<HashMap<Arc<str>, Buffer>>,
}

struct Buffer {
    lines: String,
    writer: Option<SyncSender<String>>,
}

impl Logs {
    pub(crate) fn new(files: Arc<Files>) -> Rc<Self> {
        Rc::new(Self {
            files,
            buffers: RefCell::default(),
        })
    }

    pub(crate) fn write(&self, log: &AccessLog, facts: &Facts<'_>) {
        let mut buffers = self.buffers.borrow_mut();
        if !buffers.contains_key(&log.path) {
            let writer = self.files.sender(&log.path);
            buffers.insert(
                log.path.clone(),
                Buffer {
                    lines: String::new(),
                    writer,
                },
            );
        }
        if let Some(buffer) = buffers.get_mut(&log.path) {
            log.write(facts, &mut buffer.lines);
            if buffer.lines.len() >= BUFFER {
                buffer.hand_over();
            }
        }
    }

    /// Hands over what has gathered; called on every tick and at the end.
    pub(crate) fn flush(&self) {
        for buffer in self.buffers.borrow_mut().values_mut() {
            buffer.hand_over();
        }
    }
}

impl Buffer {
    fn hand_over(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        match self.writer.as_ref().map(|writer| writer.try_send(lines)) {
            None | Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => {
                tracing::warn!("access log writer is behind; lines dropped");
            }
        }
    }
}
