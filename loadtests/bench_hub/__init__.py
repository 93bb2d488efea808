"""A thousand simulated agents against one real hub process on one core: does it converge, how late are its answers, how much memory?"""
