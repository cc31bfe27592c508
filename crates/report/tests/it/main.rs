//! Whole deliveries through `unpack` and the parser.

#[cfg(test)]
mod bombs;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod outcome;
#[cfg(test)]
mod rules;
