"""Explores every state of a model, breadth first, and says what is wrong with them.

A model is an object with

    initial()         the first state; states are hashable values
    steps(state)      yields (label, next state) or (label, next state, complaint about the step).
                      A label that holds "!" is a fault: it may happen, but nothing relies on it
    complaints(state) names of the invariants that the state breaks
    settled(state)    True if nothing is left to do
    cut_off(state)    True if only the bounds of the model keep it from going on

Besides the invariants it checks that nothing gets stuck: from every state some settled one (or one
at the bounds, which proves nothing) can be reached without any further fault.
"""

from collections import deque


class Result:
    def __init__(self):
        self.states = 0
        self.transitions = 0
        self.complete = True  # False: the limit of states was reached
        self.violations = {}  # complaint -> the shortest way there, as labels
        self.stuck = []       # ways to states from which there is no way out; the first few

    @property
    def ok(self):
        return self.complete and not self.violations and not self.stuck

    def __str__(self):
        lines = ["%d states, %d transitions%s" % (
            self.states, self.transitions, "" if self.complete else ", cut off at the limit")]
        for complaint, way in sorted(self.violations.items()):
            lines.append("  %s: %s" % (complaint, " > ".join(way)))
        for way in self.stuck:
            lines.append("  stuck: %s" % " > ".join(way))
        return "\n".join(lines)


def explore(model, limit=3_000_000, stop_at_first=False):
    """`stop_at_first` ends at the first violation: enough to see that a mutant is caught."""
    result = Result()
    first = model.initial()
    numbers = {first: 0}
    states = [first]
    parents = [None]       # of each state: (number of the one before, label)
    reached_from = [[]]    # of each state: numbers it is reached from without a fault
    todo = deque([0])

    def way_to(number):
        way = []
        while parents[number] is not None:
            number, label = parents[number]
            way.append(label)
        return way[::-1]

    def complain(complaint, number, label):
        if complaint not in result.violations:
            result.violations[complaint] = way_to(number) + [label]

    while todo and not (stop_at_first and result.violations):
        number = todo.popleft()
        for step in model.steps(states[number]):
            label, after = step[0], step[1]
            result.transitions += 1
            if len(step) > 2 and step[2]:
                complain(step[2], number, label)
            found = numbers.get(after)
            if found is None:
                if len(states) >= limit:
                    result.complete = False
                    todo.clear()
                    break
                found = numbers[after] = len(states)
                states.append(after)
                parents.append((number, label))
                reached_from.append([])
                todo.append(found)
                for complaint in model.complaints(after):
                    complain(complaint, number, label)
            if "!" not in label:
                reached_from[found].append(number)
    result.states = len(states)
    if result.complete and not (stop_at_first and result.violations):
        result.stuck = [way_to(n) for n in _stuck(model, states, reached_from)]
    return result


def _stuck(model, states, reached_from):
    """The first few states from which no settled one can be reached."""
    good = [n for n, state in enumerate(states) if model.settled(state) or model.cut_off(state)]
    can = set(good)
    while good:
        for n in reached_from[good.pop()]:
            if n not in can:
                can.add(n)
                good.append(n)
    found = []
    for n in range(len(states)):
        if n not in can:
            found.append(n)
            if len(found) == 3:
                break
    return found


# ---- states are tuples; these make changed copies --------------------------------------------------


def put(bag, item):
    """A bag is a sorted tuple, so that equal contents are equal states."""
    return tuple(sorted(bag + (item,)))


def take(bag, item):
    at = bag.index(item)
    return bag[:at] + bag[at + 1:]


def swap(row, index, item):
    return row[:index] + (item,) + row[index + 1:]


def bump(counters, index, most=2):
    """One more, but no more than `most`: enough to tell "twice" without endless states."""
    return swap(counters, index, min(most, counters[index] + 1))
