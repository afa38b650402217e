//! Capture files, in the classic form that every tool reads (draft-ietf-opsawg-pcap), with nanoseconds.

use std::time::SystemTime;

/// Bytes of the file's header.
const HEADER: usize = 24;
/// Bytes of a record's header.
const RECORD: usize = 16;
/// No frame is longer.
const LONGEST: u32 = 262_144;

/// The header of a file of Ethernet frames.
pub fn header() -> [u8; HEADER] {
    const NANOSECONDS: u32 = 0xa1b2_3c4d;
    const ETHERNET: u32 = 1;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&NANOSECONDS.to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    // Between: a time zone and an accuracy that nobody has ever written.
    header[16..20].copy_from_slice(&LONGEST.to_le_bytes());
    header[20..].copy_from_slice(&ETHERNET.to_le_bytes());
    header
}

/// Appends a record: a frame of which `bytes` were kept and that had `length` on the wire.
pub fn append(file: &mut Vec<u8>, at: SystemTime, length: u32, bytes: &[u8]) {
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let kept = u32::try_from(bytes.len()).unwrap_or(LONGEST).min(LONGEST);
    // The field has 32 bits, and lasts until 2106.
    let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
    for word in [seconds, at.subsec_nanos(), kept, length.max(kept)] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&bytes[..kept as usize]);
}

/// Cuts a capture that comes in pieces into whole records, so that what is written is a sound file whenever it ends.
#[derive(Debug, Default)]
pub struct Splitter {
    pending: Vec<u8>,
    begun: bool,
    frames: u64,
}

/// The bytes are no capture of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the gateway sends is not a capture; is it of another version than this command?")]
pub struct NotACapture;

impl Splitter {
    /// Takes a piece; returns the header and records that are whole by now.
    ///
    /// # Errors
    /// [`NotACapture`]
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, NotACapture> {
        self.pending.extend_from_slice(bytes);
        let mut whole = 0;
        if !self.begun {
            match self.pending.get(..HEADER) {
                Some(begin) if begin == header() => whole = HEADER,
                Some(_) => return Err(NotACapture),
                None => return Ok(Vec::new()),
            }
            self.begun = true;
        }
        while let Some(length) = self.record(whole)? {
            whole += length;
            self.frames += 1;
        }
        Ok(self.pending.drain(..whole).collect())
    }

    /// Frames in what was returned so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The length of the record that begins here, if it is whole.
    fn record(&self, at: usize) -> Result<Option<usize>, NotACapture> {
        let Some(&[a, b, c, d]) = self.pending.get(at + 8..at + 12) else {
            return Ok(None);
        };
        match u32::from_le_bytes([a, b, c, d]) {
            kept if kept > LONGEST => Err(NotACapture),
            kept => {
                let length = RECORD + kept as usize;
                Ok((self.pending.len() >= at + length).then_some(length))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn capture() -> Vec<u8> {
        let mut file = header().to_vec();
        let at = SystemTime::UNIX_EPOCH + Duration::new(0x0102_0304, 5);
        append(&mut file, at, 0, &[0xaa; 3]);
        append(&mut file, at, 1514, &[0xbb; 2]);
        file
    }

    #[test]
    fn the_bytes_of_a_file() {
        let expected = [
            &[
                0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
            ][..],
            &[4, 3, 2, 1, 5, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0xaa, 0xaa, 0xaa],
            &[4, 3, 2, 1, 5, 0, 0, 0, 2, 0, 0, 0, 0xea, 5, 0, 0, 0xbb, 0xbb],
        ];
        assert_eq!(capture(), expected.concat());
    }

    #[test]
    fn pieces_of_any_length_come_out_as_whole_records() {
        let file = capture();
        for length in 1..=file.len() {
            let mut splitter = Splitter::default();
            let mut written = Vec::new();
            for piece in file.chunks(length) {
                let whole = splitter.push(piece).unwrap();
                written.extend(whole);
                assert!([0, 24, 43, 61].contains(&written.len()), "{length}: {}", written.len());
            }
            assert_eq!((written, splitter.frames()), (file.clone(), 2));
        }
    }

    #[test]
    fn a_record_that_is_cut_off_is_left_out() {
        let file = capture();
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(&file[..60]), Ok(file[..43].to_vec()));
        assert_eq!(splitter.frames(), 1);
    }

    #[test]
    fn what_is_no_capture() {
        assert_eq!(Splitter::default().push(&[b'x'; 24]), Err(NotACapture));
        let mut file = capture();
        file[24 + 11] = 0xff;
        assert_eq!(Splitter::default().push(&file), Err(NotACapture));
    }
}
