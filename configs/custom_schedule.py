# A custom masking schedule: the share of the text that is masked at each step, one number a step.
#   demask configs/custom_schedule.py --sequence_length=256

schedule_type = 'custom'
masking_ratios = [
    0.95, 0.9, 0.85, 0.8,  # coarse: most of the text is still open
    0.7, 0.6, 0.5, 0.4,
    0.3, 0.2, 0.1, 0.05,   # fine: a few doubtful tokens are drawn again
]
