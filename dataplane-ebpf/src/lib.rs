//! An empty library, so that `voxlane-dataplane` can name this package as a build dependency and be rebuilt when it
//! changes. The programs are in `main.rs`.
#![no_std]
