//! Pure decisions about devices, state, releases and rollouts.
