//! Loops over samples, compiled for the vectors that this processor has.

#![allow(unsafe_code)]

/// Does `work` as if it had been compiled for the widest vectors that are known here and that this processor has: what
/// is inlined into it is. Short loops over arrays of fixed length are turned into vector instructions by the compiler.
#[inline(always)]
pub(super) fn widest<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(work) };
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}
