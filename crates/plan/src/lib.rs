//! What each proxy should do, compiled from the model
