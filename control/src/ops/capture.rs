//! Mirrored frames as the body of an HTTP answer: a capture file that grows until somebody has enough.
//!
//! Frames come from the data plane's threads, over channels that block; the answer is read by a task. Between them is a
//! thread for each capture. It ends when the call ends or leaves the kernel lane, or when the reader is gone;
//! with it end the channels, and so the mirroring. A reader that is too slow loses frames in the data plane, which counts
//! them: nothing here holds more than a few batches.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError};
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;
use voxlane_dataplane::media_plane::MirroredFrame;

use super::pcap;

/// Content type of a capture.
pub const CONTENT_TYPE: &str = "application/vnd.tcpdump.pcap";

/// How long a capture in which nothing happens may go on without anybody reading it.
const LOOK_AFTER: Duration = Duration::from_millis(200);
/// Most frames taken from a channel at once.
const BATCH: usize = 256;
/// Batches that wait for the reader.
const WAITING: usize = 4;

/// A capture file in the making.
#[derive(Debug)]
pub struct Capture(mpsc::Receiver<Bytes>);

impl Capture {
    /// Begins to write what comes over these channels, until all of them are closed or the capture is dropped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(frames: Vec<Receiver<MirroredFrame>>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || write(frames, &sender))?;
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

fn write(mut channels: Vec<Receiver<MirroredFrame>>, reader: &mpsc::Sender<Bytes>) {
    let mut bytes = pcap::header().to_vec();
    loop {
        if !bytes.is_empty() && reader.blocking_send(std::mem::take(&mut bytes).into()).is_err() {
            return;
        }
        if channels.is_empty() || reader.is_closed() {
            return;
        }
        let mut ready = Select::new();
        for channel in &channels {
            ready.recv(channel);
        }
        if ready.ready_timeout(LOOK_AFTER).is_err() {
            continue;
        }
        let mut frames = Vec::new();
        channels.retain(|channel| take(channel, &mut frames));
        // Each channel is in order; together they are in that of the wire.
        frames.sort_by_key(|frame| frame.at);
        for frame in &frames {
            pcap::append(&mut bytes, frame.at, frame.length, &frame.bytes);
        }
    }
}

/// Takes what waits in a channel; whether more may come.
fn take(channel: &Receiver<MirroredFrame>, frames: &mut Vec<MirroredFrame>) -> bool {
    for _ in 0..BATCH {
        match channel.try_recv() {
            Ok(frame) => frames.push(frame),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
    true
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
    async fn both_legs_in_the_order_of_the_wire_until_both_are_closed() {
        let (a, leg_a) = crossbeam_channel::bounded(8);
        let (b, leg_b) = crossbeam_channel::bounded(8);
        a.send(frame(1, b'1')).unwrap();
        a.send(frame(3, b'3')).unwrap();
        b.send(frame(2, b'2')).unwrap();
        drop(a);
        let capture = Capture::start(vec![leg_a, leg_b]).unwrap();
        let last = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            b.send(frame(4, b'4')).unwrap();
        });
        let bytes = capture.collect().await.unwrap().to_bytes();
        last.join().unwrap();
        let mut expected = pcap::header().to_vec();
        for (at, byte) in [(1, b'1'), (2, b'2'), (3, b'3'), (4, b'4')] {
            let frame = frame(at, byte);
            pcap::append(&mut expected, frame.at, frame.length, &frame.bytes);
        }
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn mirroring_ends_when_nobody_reads() {
        let (sender, leg) = crossbeam_channel::bounded(1);
        drop(Capture::start(vec![leg]).unwrap());
        let ended = std::thread::spawn(move || while sender.send(frame(0, 0)).is_ok() {});
        tokio::task::spawn_blocking(|| ended.join()).await.unwrap().unwrap();
    }
}
