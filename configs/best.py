# The recommended start: the strategy that measured best, in 32 forwards of the model (docs/strategies.md).
#   demask configs/best.py --sequence_length=256

strategy = 'best'
forwards = 32
