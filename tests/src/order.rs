//! How much of something is in order.

/// The length of the longest part of `items` that ascends, others left out. (Of a hundred in any order, some twenty ascend.)
pub fn longest_in_order<T: PartialOrd>(items: &[T]) -> usize {
    let mut longest: Vec<usize> = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let before = items[..place].iter().zip(&longest).filter(|(before, _)| *before < item);
        longest.push(1 + before.map(|(_, length)| *length).max().unwrap_or(0));
    }
    longest.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_order_is_left_out() {
        assert_eq!(longest_in_order(&[1, 2, 9, 3, 3, 1, 4]), 4);
        assert_eq!(longest_in_order(&[3, 2, 1]), 1);
        assert_eq!(longest_in_order::<u8>(&[]), 0);
    }
}
