"""A cohort grown from the MNI152 template, with everything that was planted in it written down."""
