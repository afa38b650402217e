//! Tests that take long, most of it waiting: in one executable, so that they wait side by side. The longest is the first by
//! name, and so the first to be begun.

mod calls_at_once;
mod figures;
mod lane;
mod lifecycle;
mod one_interface;
mod police;
mod silence;
