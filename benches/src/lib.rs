//! Benchmarks of voxlane.
