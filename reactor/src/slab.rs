//! Values in numbered places that are used again: an index names a value until it is taken out.
//!
//! Free places form a list through themselves, the one that was freed last first, because it is the one that the
//! processor's cache still knows. So adding and removing cost a few instructions and, once the slab has grown to what is
//! needed, no allocation.

/// See the [module](self).
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    /// The first free place; the length of `places` if none is free.
    free: usize,
    len: usize,
}

enum Place<T> {
    Taken(T),
    /// The next free place, as in [`Slab::free`].
    Free(usize),
}

impl<T> Slab<T> {
    /// The index that the next value will get.
    pub(crate) fn next_index(&self) -> usize {
        self.free
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let index = self.free;
        match self.places.get_mut(index) {
            Some(place) => {
                if let Place::Free(next) = *place {
                    self.free = next;
                }
                *place = Place::Taken(value);
            }
            None => {
                self.places.push(Place::Taken(value));
                self.free = self.places.len();
            }
        }
        self.len += 1;
        index
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match self.places.get(index) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match self.places.get_mut(index) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let place = self.places.get_mut(index)?;
        if matches!(place, Place::Free(_)) {
            return None;
        }
        let Place::Taken(value) = std::mem::replace(place, Place::Free(self.free)) else {
            return None;
        };
        self.free = index;
        self.len -= 1;
        Some(value)
    }

    /// All values with their indices.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let places = self.places.iter_mut().enumerate();
        places.filter_map(|(index, place)| match place {
            Place::Taken(value) => Some((index, value)),
            Place::Free(_) => None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            places: Vec::new(),
            free: 0,
            len: 0,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_place_is_used_again_and_a_free_one_has_no_value() {
        let mut slab = Slab::default();
        assert_eq!((slab.insert('a'), slab.insert('b')), (0, 1));
        assert_eq!(slab.remove(0), Some('a'));
        assert_eq!(slab.get(0), None);
        assert_eq!((slab.remove(0), slab.remove(7)), (None, None));
        assert_eq!(slab.next_index(), 0);
        assert_eq!((slab.insert('c'), slab.insert('d')), (0, 2));
        let all: Vec<_> = slab.iter_mut().map(|(_, value)| *value).collect();
        assert_eq!(all, ['c', 'b', 'd']);
    }

    proptest! {
        /// Against a map, which is what a slab is.
        #[test]
        #[cfg_attr(miri, ignore = "it takes many minutes, and there is no unsafe code to watch")]
        fn it_is_a_map_whose_keys_it_chooses(steps in proptest::collection::vec(0_usize..24, 0..200)) {
            let (mut slab, mut map) = (Slab::default(), HashMap::new());
            for (value, step) in steps.into_iter().enumerate() {
                if step < 12 {
                    let expected = slab.next_index();
                    let index = slab.insert(value);
                    prop_assert_eq!(index, expected);
                    prop_assert_eq!(map.insert(index, value), None, "it was free");
                } else {
                    prop_assert_eq!(slab.remove(step - 12), map.remove(&(step - 12)));
                }
                prop_assert_eq!(slab.len(), map.len());
                prop_assert!((0..24).all(|index| slab.get(index) == map.get(&index)));
            }
            let mut left: Vec<_> = slab.iter_mut().map(|(index, value)| (index, *value)).collect();
            let mut expected: Vec<_> = map.into_iter().collect();
            left.sort();
            expected.sort();
            prop_assert_eq!(left, expected);
        }
    }
}
