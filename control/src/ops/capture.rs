//! Mirrored frames as the body of an HTTP answer: a capture file that grows until somebody has enough.
//!
//! Frames come from a thread of the data plane, over a channel that blocks; the answer is read by a task. Between them is a
//! thread for each capture. It ends when the call ends or leaves the kernel lane, or when the reader is gone;
//! with it ends the channel, and so the mirroring. A reader that is too slow loses frames in the data plane, which counts
//! them: nothing here holds more than a few batches.

use std::convert::Infallible;
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;
use voxlane_dataplane::media_plane::MirroredFrame;

use super::pcap;

/// Content type of a capture.
pub const CONTENT_TYPE: &str = "application/vnd.tcpdump.pcap";

/// How long a capture in which nothing happens may go on without anybody reading it.
const LOOK_AFTER: Duration = Duration::from_millis(200);
/// Most frames in a batch, beside its first.
const BATCH: usize = 256;
/// Batches that wait for the reader.
const WAITING: usize = 4;

/// A capture file in the making.
#[derive(Debug)]
pub struct Capture(mpsc::Receiver<Bytes>);

impl Capture {
    /// Begins to write what comes over this channel, until it is closed or the capture is dropped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(frames: Receiver<MirroredFrame>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || write(&frames, &sender))?;
        Ok(Self(receiver))
    }
}

impl Body for Capture {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn write(frames: &Receiver<MirroredFrame>, reader: &mpsc::Sender<Bytes>) {
    let mut bytes = pcap::header().to_vec();
    loop {
        if !bytes.is_empty() && reader.blocking_send(std::mem::take(&mut bytes).into()).is_err() {
            return;
        }
        match frames.recv_timeout(LOOK_AFTER) {
            Ok(first) => {
                for frame in iter::once(first).chain(frames.try_iter().take(BATCH)) {
                    pcap::append(&mut bytes, frame.at, frame.length, &frame.bytes);
                }
            }
            Err(RecvTimeoutError::Timeout) if reader.is_closed() => return,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http_body_util::BodyExt;

    use super::*;

    fn frame(nanoseconds: u64, byte: u8) -> MirroredFrame {
        MirroredFrame {
            at: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
            length: 1,
            bytes: vec![byte],
        }
    }

    #[tokio::test]
    async fn frames_as_they_come_until_both_legs_are_closed() {
        let (a, frames) = crossbeam_channel::bounded(8);
        let b = a.clone();
        a.send(frame(1, b'1')).unwrap();
        b.send(frame(2, b'2')).unwrap();
        a.send(frame(3, b'3')).unwrap();
        drop(a);
        let mut capture = Capture::start(frames).unwrap();
        let mut expected = pcap::header().to_vec();
        for (at, byte) in [(1, b'1'), (2, b'2'), (3, b'3'), (4, b'4')] {
            let frame = frame(at, byte);
            pcap::append(&mut expected, frame.at, frame.length, &frame.bytes);
        }
        let mut bytes = Vec::new();
        let mut left = Some(b);
        while let Some(part) = capture.frame().await {
            bytes.extend_from_slice(&part.unwrap().into_data().unwrap());
            // The last frame comes when the others have been read.
            if bytes.len() > pcap::header().len()
                && let Some(b) = left.take()
            {
                b.send(frame(4, b'4')).unwrap();
            }
        }
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn mirroring_ends_when_nobody_reads() {
        let (sender, leg) = crossbeam_channel::bounded(1);
        drop(Capture::start(leg).unwrap());
        let ended = std::thread::spawn(move || while sender.send(frame(0, 0)).is_ok() {});
        tokio::task::spawn_blocking(|| ended.join()).await.unwrap().unwrap();
    }
}
