//! Tests of the repository itself: its documentation, dependencies and rooms.

mod documentation;
mod msrv;
mod rooms;
