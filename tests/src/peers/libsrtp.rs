//! libsrtp 2 (Cisco's; the SRTP of most gateways and browsers), by the shared library of Debian's `libsrtp2-1`.
//!
//! It is loaded at run time: nothing is linked with it, and a machine without it can build everything.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The library, by the name it is installed under.
const LIBRARY: &CStr = c"libsrtp2.so.1";

/// Bytes that it may add to a packet (`SRTP_MAX_TRAILER_LEN`).
const MAX_TRAILER: usize = 16 + 128;

/// Which way a session works: libsrtp wants one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It protects.
    Outbound,
    /// It unprotects.
    Inbound,
}

/// A session of libsrtp, for any SSRC.
pub struct Session {
    library: &'static Library,
    session: *mut c_void,
    /// Which libsrtp keeps no copy of.
    _key: Vec<u8>,
}

/// A status other than `srtp_err_status_ok`: 7 a wrong tag, 9 a replay (srtp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub c_int);

type Create = unsafe extern "C" fn(*mut *mut c_void, *const Policy) -> c_int;
type Transform = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_int) -> c_int;
type SetPolicy = unsafe extern "C" fn(*mut CryptoPolicy);

struct Library {
    create: Create,
    dealloc: unsafe extern "C" fn(*mut c_void) -> c_int,
    protect: Transform,
    unprotect: Transform,
    protect_rtcp: Transform,
    unprotect_rtcp: Transform,
    handle: usize,
}

/// `srtp_crypto_policy_t`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CryptoPolicy {
    cipher_type: u32,
    cipher_key_len: c_int,
    auth_type: u32,
    auth_key_len: c_int,
    auth_tag_len: c_int,
    sec_serv: c_int,
}

/// `srtp_policy_t`.
#[repr(C)]
struct Policy {
    ssrc_type: c_int,
    ssrc_value: c_uint,
    rtp: CryptoPolicy,
    rtcp: CryptoPolicy,
    key: *mut u8,
    keys: *mut *mut c_void,
    num_master_keys: c_ulong,
    deprecated_ekt: *mut c_void,
    window_size: c_ulong,
    allow_repeat_tx: c_int,
    enc_xtn_hdr: *mut c_int,
    enc_xtn_hdr_count: c_int,
    next: *mut Policy,
}

/// `ssrc_any_inbound`, `ssrc_any_outbound`.
const ANY_INBOUND: c_int = 2;
const ANY_OUTBOUND: c_int = 3;

impl Library {
    /// Loads it once for the process.
    fn get() -> Result<&'static Self, String> {
        static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
        LOADED.get_or_init(Self::load).as_ref().map_err(Clone::clone)
    }

    fn load() -> Result<Self, String> {
        // SAFETY: the name is a string with its zero; the library's constructors do nothing of note.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return Err(format!(
                "{} cannot be loaded: install libsrtp2-1",
                LIBRARY.to_string_lossy()
            ));
        }
        let find = |name: &CStr| symbol(handle, name);
        // SAFETY: each is a function of this signature in srtp.h of libsrtp 2, which the library's name stands for.
        unsafe {
            let init = std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(find(c"srtp_init")?);
            if init() != 0 {
                return Err("srtp_init failed".to_owned());
            }
            Ok(Self {
                create: std::mem::transmute::<*mut c_void, Create>(find(c"srtp_create")?),
                dealloc: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> c_int>(find(
                    c"srtp_dealloc",
                )?),
                protect: std::mem::transmute::<*mut c_void, Transform>(find(c"srtp_protect")?),
                unprotect: std::mem::transmute::<*mut c_void, Transform>(find(c"srtp_unprotect")?),
                protect_rtcp: std::mem::transmute::<*mut c_void, Transform>(find(c"srtp_protect_rtcp")?),
                unprotect_rtcp: std::mem::transmute::<*mut c_void, Transform>(find(c"srtp_unprotect_rtcp")?),
                handle: handle.expose_provenance(),
            })
        }
    }

    /// The policies of a suite, for SRTP and SRTCP, as its own functions fill them.
    fn policies(&self, suite: &str) -> Result<[CryptoPolicy; 2], String> {
        let [rtp, rtcp] = match suite {
            "AES_CM_128_HMAC_SHA1_80" => [c"srtp_crypto_policy_set_rtp_default"; 2],
            "AES_CM_128_HMAC_SHA1_32" => [
                c"srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32",
                c"srtp_crypto_policy_set_rtp_default",
            ],
            "AES_256_CM_HMAC_SHA1_80" => [c"srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80"; 2],
            "AEAD_AES_128_GCM" => [c"srtp_crypto_policy_set_aes_gcm_128_16_auth"; 2],
            "AEAD_AES_256_GCM" => [c"srtp_crypto_policy_set_aes_gcm_256_16_auth"; 2],
            _ => return Err(format!("libsrtp has no {suite}")),
        };
        let filled = |name: &CStr| -> Result<CryptoPolicy, String> {
            let symbol = symbol(ptr::with_exposed_provenance_mut(self.handle), name)?;
            let mut policy = CryptoPolicy::default();
            // SAFETY: all of them have this signature in srtp.h, and fill the structure they are given.
            unsafe { std::mem::transmute::<*mut c_void, SetPolicy>(symbol)(&raw mut policy) };
            Ok(policy)
        };
        Ok([filled(rtp)?, filled(rtcp)?])
    }
}

fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    let name_pointer: *const c_char = name.as_ptr();
    // SAFETY: the handle is that of a loaded library, which is never unloaded; the name has its zero.
    let symbol = unsafe { libc::dlsym(library, name_pointer) };
    if symbol.is_null() {
        return Err(format!("libsrtp has no {}", name.to_string_lossy()));
    }
    Ok(symbol)
}

/// Sessions are made and ended one at a time: libsrtp's own lists are not for threads.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static MAKING: Mutex<()> = Mutex::new(());
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// A session with this suite (its name in SDP), and master key and salt one after the other.
    ///
    /// # Errors
    /// In words, if the library is not there or refuses.
    pub fn new(suite: &str, key: &[u8], way: Way) -> Result<Self, String> {
        let library = Library::get()?;
        let _making = one_at_a_time();
        let [rtp, rtcp] = library.policies(suite)?;
        let mut key = key.to_vec();
        let policy = Policy {
            ssrc_type: match way {
                Way::Inbound => ANY_INBOUND,
                Way::Outbound => ANY_OUTBOUND,
            },
            ssrc_value: 0,
            rtp,
            rtcp,
            key: key.as_mut_ptr(),
            keys: ptr::null_mut(),
            num_master_keys: 0,
            deprecated_ekt: ptr::null_mut(),
            window_size: 128,
            allow_repeat_tx: 0,
            enc_xtn_hdr: ptr::null_mut(),
            enc_xtn_hdr_count: 0,
            next: ptr::null_mut(),
        };
        // libsrtp would read beyond a shorter one.
        assert!(key.len() >= usize::try_from(rtp.cipher_key_len).unwrap_or(usize::MAX));
        let mut session = ptr::null_mut();
        // SAFETY: both pointers are to live structures of the library's own layout, and the key is as long as the suite wants.
        let status = unsafe { (library.create)(&raw mut session, &raw const policy) };
        if status != 0 {
            return Err(format!("srtp_create failed: {status}"));
        }
        Ok(Self {
            library,
            session,
            _key: key,
        })
    }

    /// Protects the RTP packet in the first `length` bytes; how long it is then.
    ///
    /// # Errors
    /// libsrtp's own status.
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Status> {
        assert!(buffer.len() >= length + MAX_TRAILER);
        self.call(self.library.protect, buffer, length)
    }

    /// The same of RTCP.
    ///
    /// # Errors
    /// libsrtp's own status.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Status> {
        assert!(buffer.len() >= length + MAX_TRAILER);
        self.call(self.library.protect_rtcp, buffer, length)
    }

    /// Takes the protection off an RTP packet; how long it is then.
    ///
    /// # Errors
    /// libsrtp's own status.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, Status> {
        let length = packet.len();
        self.call(self.library.unprotect, packet, length)
    }

    /// The same of RTCP.
    ///
    /// # Errors
    /// libsrtp's own status.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Status> {
        let length = packet.len();
        self.call(self.library.unprotect_rtcp, packet, length)
    }

    fn call(&mut self, function: Transform, buffer: &mut [u8], length: usize) -> Result<usize, Status> {
        let mut length = c_int::try_from(length).map_err(|_| Status(-1))?;
        // SAFETY: the session is live and nobody else's; the buffer is as long as the callers say, and has room for what
        // may be added.
        let status = unsafe { function(self.session, buffer.as_mut_ptr().cast(), &raw mut length) };
        match status {
            0 => usize::try_from(length).map_err(|_| Status(-1)),
            status => Err(Status(status)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _making = one_at_a_time();
        // SAFETY: the session is live, and this is its end.
        unsafe { (self.library.dealloc)(self.session) };
    }
}
