//! The judge against published results, against itself, and by simulation.

mod documents;
mod experiments;
mod properties;
mod scores;
mod simulation;
mod vectors;
